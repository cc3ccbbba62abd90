#include "core/skeleton_maps.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

// Must move: the joints, read once, and every cell of the maps, written once. Does move: the cells once; the
// joints once per block, from cache (for one person, less than a hundredth of what the block writes). A block
// draws a group of channels of one map over a range of cells. Its threads first prepare the joints or limbs
// of the group, of all people, in shared memory, and then each thread draws them over its own cells in
// registers. The origin of a block is computed with 64-bit arithmetic; the cells of a map are counted with 32
// bits.

namespace pose2seg {
namespace {

// Calls draw(prepare(i)) for i = 0 ... count - 1 in order, in every thread. The calls of prepare are divided
// among the threads.
template <int kThreads, class Prepare, class Draw>
__device__ void prepare_and_draw(int64_t count, const Prepare& prepare, const Draw& draw) {
  __shared__ decltype(prepare(0)) prepared[kThreads];
  for (int64_t first = 0; first < count; first += kThreads) {
    __syncthreads();
    if (first + threadIdx.x < count) prepared[threadIdx.x] = prepare(first + threadIdx.x);
    __syncthreads();
    const int ready = int(count - first < kThreads ? count - first : kThreads);
    for (int i = 0; i < ready; ++i) draw(prepared[i]);
  }
}

// The cells of a thread, which are consecutive cells of one row.
struct Cells {
  int column, row;
};

// Draws joints first ... last - 1 of all people; put(k, values) receives the cells of the thread in each
// finished map.
template <class T, int kThreads, int kCells, class Put>
__device__ void draw_joints(const SkeletonDrawing& d, int64_t map, int first, int last, Cells at,
                            const Put& put) {
  const T stride = T(d.stride), y = cell_centre(at.row, stride), inverse = inverse_two_sigma2<T>(d);
  T values[kCells] = {};
  int64_t person = 0;
  int k = first;
  const auto prepare = [&](int64_t i) {
    return drawn_joint<T>(d, map, i % d.people, first + int(i / d.people));
  };
  prepare_and_draw<kThreads>((last - first) * d.people, prepare, [&](const Joint<T>& joint) {
    for (int c = 0; c < kCells; ++c)
      draw_joint(values[c], joint, cell_centre(at.column + c, stride), y, inverse, d.signed_visibility);
    if (++person < d.people) return;
    put(k++, values);
    for (T& value : values) value = 0;
    person = 0;
  });
}

// Draws limbs first ... last - 1 of all people; put(channel, values) receives x and then y of each finished
// limb.
template <class T, int kThreads, int kCells, class Put>
__device__ void draw_limbs(const SkeletonDrawing& d, int64_t map, int first, int last, Cells at,
                           const Put& put) {
  FieldCell<T> cells[kCells] = {};
  int64_t person = 0;
  int channel = d.joints + 2 * first;
  const auto prepare = [&](int64_t i) {
    return drawn_limb<T>(d, map, i % d.people, first + int(i / d.people));
  };
  prepare_and_draw<kThreads>((last - first) * d.people, prepare, [&](const Limb<T>& limb) {
    for (int c = 0; c < kCells; ++c)
      if (limb.covers(at.column + c, at.row, T(d.limb_width))) cells[c].draw(limb, d.limb_overlap);
    if (++person < d.people) return;
    T x[kCells], y[kCells];
    for (int c = 0; c < kCells; ++c) {
      x[c] = cells[c].x();
      y[c] = cells[c].y();
      cells[c] = {};
    }
    put(channel++, x);
    put(channel++, y);
    person = 0;
  });
}

// Returns the first channel of a group of at most `size` (even) channels: a multiple of `size`, moved so that
// no limb is split.
HOST_DEVICE int group_begin(const SkeletonDrawing& d, int group, int size) {
  const int64_t even = int64_t(group) * size;
  const int begin = int(even < d.channels() ? even : d.channels());
  return begin > d.joints ? begin - (begin - d.joints) % 2 : begin;
}

template <class T, int kThreads, int kCells, class Put>
__device__ void draw_group(const SkeletonDrawing& d, int64_t map, int first, int last, Cells at,
                           const Put& put) {
  const auto joint = [&](int channel) { return channel < d.joints ? channel : d.joints; };
  const auto limb = [&](int channel) { return channel > d.joints ? (channel - d.joints) / 2 : 0; };
  draw_joints<T, kThreads, kCells>(d, map, joint(first), joint(last), at, put);
  draw_limbs<T, kThreads, kCells>(d, map, limb(first), limb(last), at, put);
}

// Contiguous layout. Threads are mapped to the cells of a map, kCells consecutive cells each, which are
// written at once. 20 channels per block give enough blocks for the maps of one person, and little
// preparation for each.
constexpr int kPlaneThreads = 256;
constexpr int kPlaneChannels = 20;

template <class T, class Out, int kCells>
__global__ void __launch_bounds__(kPlaneThreads) draw_planes(const SkeletonMapsParams p, int blocks_per_map) {
  using Packet = Vector<Out, kCells>;
  const SkeletonDrawing& d = p.drawing;
  const int64_t map = blockIdx.x / blocks_per_map;
  const int64_t cell = (int64_t(blockIdx.x % blocks_per_map) * kPlaneThreads + threadIdx.x) * kCells;
  const bool inside = cell < d.height * d.width;
  const Cells at = {inside ? int(cell) % d.width : 0, inside ? int(cell) / d.width : 0};
  Out* origin = static_cast<Out*>(p.output) + map * p.output_strides[0] + at.row * p.output_strides[2] +
                at.column * p.output_strides[3];
  const int first = group_begin(d, blockIdx.y, kPlaneChannels);
  const int last = group_begin(d, blockIdx.y + 1, kPlaneChannels);
  draw_group<T, kPlaneThreads, kCells>(d, map, first, last, at, [&](int channel, const T(&values)[kCells]) {
    Packet packet;
    for (int c = 0; c < kCells; ++c) packet.of[c] = Out(values[c]);
    if (inside) *reinterpret_cast<Packet*>(origin + channel * p.output_strides[1]) = packet;
  });
}

template <class T, class Out>
void launch_planes(const SkeletonMapsParams& p, cudaStream_t stream) {
  const SkeletonDrawing& d = p.drawing;
  constexpr int kPacket = kVectorBytes / sizeof(Out);
  const int64_t* strides = p.output_strides;
  const bool aligned = strides[0] % kPacket == 0 && strides[1] % kPacket == 0 && strides[2] % kPacket == 0 &&
                       strides[3] == 1 && d.width % kPacket == 0 &&
                       reinterpret_cast<uintptr_t>(p.output) % kVectorBytes == 0;
  const int cells = aligned ? kPacket : 1;
  const int blocks_per_map = int(blocks_for(int64_t(d.height) * d.width, kPlaneThreads * cells));
  const dim3 grid(blocks_for(d.maps * blocks_per_map, 1), blocks_for(d.channels(), kPlaneChannels));
  const auto kernel = aligned ? draw_planes<T, Out, kPacket> : draw_planes<T, Out, 1>;
  launch(kernel, grid, dim3(kPlaneThreads), stream, p, blocks_per_map);
}

// channels_last layout. Each thread draws one cell into shared memory; then each warp writes the channels of
// one cell after the other, starting at a multiple of 32 elements, so that no sector is written by two
// requests.
constexpr int kTileCells = 64;
constexpr int kTileChannels = 64;

template <class T, class Out>
__global__ void __launch_bounds__(kTileCells)
    draw_channels_last(const SkeletonMapsParams p, int blocks_per_map) {
  constexpr int kPadding = sizeof(Out) < 4 ? 4 / sizeof(Out) : 1;  // the cells start in different banks
  __shared__ Out tile[kTileCells][kTileChannels + kPadding];
  const SkeletonDrawing& d = p.drawing;
  const int64_t map = blockIdx.x / blocks_per_map;
  const int64_t first_cell = int64_t(blockIdx.x % blocks_per_map) * kTileCells;
  const int cells =
      int(d.height * d.width - first_cell < kTileCells ? d.height * d.width - first_cell : kTileCells);
  const int cell = int(first_cell) + (threadIdx.x < cells ? threadIdx.x : 0);
  const int first = group_begin(d, blockIdx.y, kTileChannels);
  const int last = group_begin(d, blockIdx.y + 1, kTileChannels);
  draw_group<T, kTileCells, 1>(
      d, map, first, last, {cell % d.width, cell / d.width},
      [&](int channel, const T(&values)[1]) { tile[threadIdx.x][channel - first] = Out(values[0]); });
  __syncthreads();

  for (int i = threadIdx.x / kWarpSize; i < cells; i += kTileCells / kWarpSize) {
    const int column = (int(first_cell) + i) % d.width, row = (int(first_cell) + i) / d.width;
    Out* output = static_cast<Out*>(p.output) + map * p.output_strides[0] + first +
                  row * p.output_strides[2] + column * p.output_strides[3];
    const int skew = int(reinterpret_cast<uintptr_t>(output) / sizeof(Out) % kWarpSize);
    for (int c = int(threadIdx.x % kWarpSize) - skew; c < last - first; c += kWarpSize)
      if (c >= 0) output[c] = tile[i][c];
  }
}

template <class T, class Out>
void launch_channels_last(const SkeletonMapsParams& p, cudaStream_t stream) {
  const SkeletonDrawing& d = p.drawing;
  const int blocks_per_map = int(blocks_for(int64_t(d.height) * d.width, kTileCells));
  const dim3 grid(blocks_for(d.maps * blocks_per_map, 1), blocks_for(d.channels(), kTileChannels));
  launch(draw_channels_last<T, Out>, grid, dim3(kTileCells), stream, p, blocks_per_map);
}

}  // namespace

void skeleton_maps_cuda(const SkeletonMapsParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.output_dtype, [&](auto type) {
    using Out = decltype(type);
    const bool channels_last = params.output_strides[1] == 1;
    if (params.drawing.keypoints_dtype == DType::kDouble)
      channels_last ? launch_channels_last<double, Out>(params, stream)
                    : launch_planes<double, Out>(params, stream);
    else
      channels_last ? launch_channels_last<float, Out>(params, stream)
                    : launch_planes<float, Out>(params, stream);
  });
}

}  // namespace pose2seg
