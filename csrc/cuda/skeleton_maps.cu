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
  const T stride = T(d.stride), y = cell_centre(at.row, stride), inverse = T(d.inverse_two_sigma2);
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
      if (limb.covers(at.column + c, at.row, T(d.limb_width)))
        cells[c].draw(limb.unit_x, limb.unit_y, d.limb_overlap);
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
// written at once. Many channels per block, `group`, need little preparation for each; there are fewer if the
// maps are few.
constexpr int kPlaneThreads = 128;

template <class T, class Out, int kCells>
__global__ void __launch_bounds__(kPlaneThreads)
    draw_planes(const SkeletonMapsParams p, int blocks_per_map, int group) {
  using Packet = Vector<Out, kCells>;
  const SkeletonDrawing& d = p.drawing;
  const int64_t map = blockIdx.x / blocks_per_map;
  const int64_t cell = (int64_t(blockIdx.x % blocks_per_map) * kPlaneThreads + threadIdx.x) * kCells;
  const bool inside = cell < d.height * d.width;
  const Cells at = {inside ? int(cell) % d.width : 0, inside ? int(cell) / d.width : 0};
  Out* origin = static_cast<Out*>(p.output) + map * p.output_strides[0] + at.row * p.output_strides[2] +
                at.column * p.output_strides[3];
  const int first = group_begin(d, blockIdx.y, group);
  const int last = group_begin(d, blockIdx.y + 1, group);
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
  const int64_t blocks = d.maps * blocks_per_map;
  const int group = blocks * blocks_for(d.channels(), 20) < kEnoughBlocks ? 2 : 20;
  const dim3 grid(blocks_for(blocks, 1), blocks_for(d.channels(), group));
  const auto kernel = aligned ? draw_planes<T, Out, kPacket> : draw_planes<T, Out, 1>;
  launch(kernel, grid, dim3(kPlaneThreads), stream, p, blocks_per_map, group);
}

// channels_last layout. The lanes of a warp are channels, two each, and a warp draws kRun consecutive cells
// of a row, which stay in registers. It writes the channels of one cell after the other, starting at a whole
// sector, so that no sector is written by two requests.
constexpr int kChannelThreads = 128;
constexpr int kChannelWarps = kChannelThreads / kWarpSize;
constexpr int kSlots = 2;  // channels of a lane
constexpr int kGroup = kSlots * kWarpSize;
constexpr int kRun = 8;
constexpr int kPeopleAtOnce = 4;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kResidentBlocks = 8;  // Turing multiprocessors hold 1024 threads
#else
constexpr int kResidentBlocks = 10;
#endif

// The channels [first, last) of one map, and the joints and limbs that they show.
struct ChannelGroup {
  int first, last, first_joint, joints, first_limb, limbs;

  HOST_DEVICE ChannelGroup(const SkeletonDrawing& d, int index)
      : first(group_begin(d, index, kGroup)), last(group_begin(d, index + 1, kGroup)) {
    first_joint = first < d.joints ? first : d.joints;
    joints = (last < d.joints ? last : d.joints) - first_joint;
    first_limb = first > d.joints ? (first - d.joints) / 2 : 0;
    limbs = (last > d.joints ? (last - d.joints) / 2 : 0) - first_limb;
  }
};

template <class T>
struct PreparedPeople {
  Joint<T> joints[kPeopleAtOnce][kGroup];
  Limb<T> limbs[kPeopleAtOnce][kGroup / 2];

  // Divides the work among the threads of the block, all of which must call it.
  __device__ void prepare(const SkeletonDrawing& d, const ChannelGroup& group, int64_t map,
                          int64_t first_person, int people) {
    const int per_person = group.joints + group.limbs;
    __syncthreads();
    for (int i = int(threadIdx.x); i < people * per_person; i += kChannelThreads) {
      const int person = i / per_person, k = i % per_person;
      if (k < group.joints)
        joints[person][k] = drawn_joint<T>(d, map, first_person + person, group.first_joint + k);
      else
        limbs[person][k - group.joints] =
            drawn_limb<T>(d, map, first_person + person, group.first_limb + k - group.joints);
    }
    __syncthreads();
  }
};

// One channel of a cell while people are drawn one after the other: a joint, or one component of a limb.
template <class T, bool kMean>
struct ChannelCell {
  FieldCell<T> field;  // with its only component in x

  __device__ T& value() { return field.sum_x; }
  __device__ void draw(T unit) { field.draw(unit, T(0), kMean ? LimbOverlap::kMean : LimbOverlap::kLast); }
  __device__ T result() const { return kMean ? field.x() : field.sum_x; }
};

// Draws a joint of one person over the cells of a warp, in a lane whose channel shows it.
template <class T, bool kMean>
__device__ void draw_joint_channel(const SkeletonDrawing& d, const Joint<T>& joint, Cells at,
                                   ChannelCell<T, kMean> (&cells)[kRun]) {
  const T stride = T(d.stride), y = cell_centre(at.row, stride), inverse = T(d.inverse_two_sigma2);
  // Otherwise the compiler keeps the centres of all cells in registers while limbs are drawn.
  int first_column = at.column;
  asm volatile("" : "+r"(first_column));
  if (!joint.visible() || (y - joint.y) * (y - joint.y) * inverse >= T(kConfidenceCutoff)) return;
#pragma unroll
  for (int c = 0; c < kRun; ++c)
    draw_joint(cells[c].value(), joint, cell_centre(first_column + c, stride), y, inverse,
               d.signed_visibility);
}

// Draws a component of a limb in the same way.
template <class T, bool kMean>
__device__ void draw_limb_channel(const SkeletonDrawing& d, const Limb<T>& limb, T unit, Cells at,
                                  ChannelCell<T, kMean> (&cells)[kRun]) {
  const T offset = limb.row_offset(at.row), width = T(d.limb_width);
  const T begin = limb.distance(at.column, offset), end = limb.distance(at.column + kRun - 1, offset);
  if (at.row < limb.box.top || at.row >= limb.box.bottom || at.column >= limb.box.right ||
      at.column <= limb.box.left - kRun || !(fmin(begin, end) < width && fmax(begin, end) > -width))
    return;
#pragma unroll
  for (int c = 0; c < kRun; ++c) {
    const int column = at.column + c;
    if ((column >= limb.box.left) & (column < limb.box.right) & (fabs(limb.distance(column, offset)) < width))
      cells[c].draw(unit);
  }
}

// Writes the channels of a cell, of which lane i holds channels i and 32 + i.
template <class Out, class T>
__device__ void store_channels(T lower, T upper, int channels, char* address) {
  const int skew = int(reinterpret_cast<uintptr_t>(address) % kSectorBytes / sizeof(Out));
  const int channel = int(threadIdx.x % kWarpSize) - skew;
  lower = __shfl_sync(kAllLanes, lower, channel);
  upper = __shfl_sync(kAllLanes, upper, channel);
  Out* output = reinterpret_cast<Out*>(address + channel * int(sizeof(Out)));
  if (static_cast<unsigned int>(channel) < static_cast<unsigned int>(channels)) output[0] = Out(lower);
  if (channel + kWarpSize < channels) output[kWarpSize] = Out(channel < 0 ? lower : upper);
  if (channel + 2 * kWarpSize < channels) output[2 * kWarpSize] = Out(upper);
}

// Ten resident blocks leave 48 registers, which suffice for the usual types; others would spill.
template <class T, class Out, bool kMean>
__global__ void __launch_bounds__(kChannelThreads, sizeof(T) == sizeof(float) && !kMean ? kResidentBlocks : 1)
    draw_channels_last(const SkeletonMapsParams p, int blocks_per_map) {
  __shared__ PreparedPeople<T> people;
  const SkeletonDrawing& d = p.drawing;
  const int64_t map = blockIdx.x / blocks_per_map;
  const ChannelGroup group(d, blockIdx.y);
  const int lane = int(threadIdx.x % kWarpSize);
  const unsigned int across = (unsigned(d.width) + kRun - 1) / kRun;
  const unsigned int runs = across * unsigned(d.height), step = unsigned(blocks_per_map) * kChannelWarps;
  bool prepared = false;
  // The warps of a block take the same number of turns, since they prepare people together.
  for (unsigned int turn = blockIdx.x % blocks_per_map * kChannelWarps; turn < runs; turn += step) {
    const unsigned int run = turn + threadIdx.x / kWarpSize;
    const Cells at = {int(run % across) * kRun, int(run / across)};
    ChannelCell<T, kMean> cells[kSlots][kRun] = {};
    for (int64_t first = 0; first < d.people; first += kPeopleAtOnce) {
      const int ready = int(min(d.people - first, int64_t(kPeopleAtOnce)));
      if (!prepared) people.prepare(d, group, map, first, ready);
      prepared = d.people <= kPeopleAtOnce;
      for (int person = 0; person < ready; ++person) {
#pragma unroll
        for (int slot = 0; slot < kSlots; ++slot) {
          const int joint = slot * kWarpSize + lane;
          if (joint < group.joints) draw_joint_channel(d, people.joints[person][joint], at, cells[slot]);
        }
#pragma unroll
        for (int slot = 0; slot < kSlots; ++slot) {
          const int component = slot * kWarpSize + lane - group.joints;
          if (component < 0 || component >= 2 * group.limbs) continue;
          const Limb<T>& limb = people.limbs[person][component / 2];
          draw_limb_channel(d, limb, component % 2 == 0 ? limb.unit_x : limb.unit_y, at, cells[slot]);
        }
      }
    }
    const int columns = at.row < d.height ? d.width - at.column : 0;
    auto* address =
        reinterpret_cast<char*>(static_cast<Out*>(p.output) + map * p.output_strides[0] + group.first +
                                at.row * p.output_strides[2] + at.column * p.output_strides[3]);
#pragma unroll
    for (int c = 0; c < kRun; ++c) {
      store_channels<Out>(cells[0][c].result(), cells[1][c].result(),
                          c < columns ? group.last - group.first : 0, address);
      address += p.output_strides[3] * int64_t(sizeof(Out));
    }
  }
}

template <class T, class Out>
void launch_channels_last(const SkeletonMapsParams& p, cudaStream_t stream) {
  const SkeletonDrawing& d = p.drawing;
  const int64_t runs = (int64_t(d.width) + kRun - 1) / kRun * d.height;
  // A warp draws several runs of the same people, unless there are too few maps for all multiprocessors.
  const int turns = d.maps * runs < (1 << 14) ? 1 : 8;
  const int blocks_per_map = int(blocks_for(runs, kChannelWarps * turns));
  const dim3 grid(blocks_for(d.maps * blocks_per_map, 1), blocks_for(d.channels(), kGroup));
  const auto kernel = d.limb_overlap == LimbOverlap::kMean ? draw_channels_last<T, Out, true>
                                                           : draw_channels_last<T, Out, false>;
  launch(kernel, grid, dim3(kChannelThreads), stream, p, blocks_per_map);
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
