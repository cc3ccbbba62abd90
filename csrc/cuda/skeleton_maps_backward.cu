#include "core/skeleton_gradient.h"
#include "core/skeleton_maps_backward.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Writes the gradient of each keypoint once. One block per joint of a person reads the gradient of the cells
// in the disc of the joint and in the boxes of its limbs, neighbouring threads reading neighbouring columns.
// Must move: the gradients of the cells that are drawn, read once. Does move: those of limbs twice, once per
// joint, and for joints the square around the disc. Each thread sums its cells in order and the block reduces
// over its threads pairwise, without atomics, so the bits are the same on every run.

namespace pose2seg {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocksPerMultiprocessor =
    5;  // set explicitly, since ptxas otherwise chose fewer registers and spilled

// Calls visit(column, row) for the cells of the box that belong to the thread, in order.
template <class Visit>
__device__ void visit_cells(const Box& box, const Visit& visit) {
  const unsigned int width = box.right - box.left, cells = width * (box.bottom - box.top);
  for (unsigned int cell = threadIdx.x; cell < cells; cell += kThreads)
    visit(box.left + int(cell % width), box.top + int(cell / width));
}

template <class T>
__device__ Vector2<T> sum_over_block(Vector2<T> value) {
  __shared__ Vector2<T> warps[kThreads / kWarpSize];
  for (int step = kWarpSize / 2; step > 0; step /= 2)
    value += {__shfl_xor_sync(kAllLanes, value.x, step), __shfl_xor_sync(kAllLanes, value.y, step)};
  if (threadIdx.x % kWarpSize == 0) warps[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  Vector2<T> sum = {};
  for (const auto& warp : warps) sum += warp;
  return sum;
}

template <class T, class Grad>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    sum_gradient(const SkeletonMapsBackwardParams p) {
  const SkeletonDrawing& d = p.drawing;
  const int k = int(blockIdx.x % d.joints);
  const int64_t person = blockIdx.x / d.joints % d.people, map = blockIdx.x / d.joints / d.people;
  const Grad* grad_map = static_cast<const Grad*>(p.grad) + map * p.grad_strides[0];
  const auto grad = [&](int channel, int column, int row) {
    return T(grad_map[channel * p.grad_strides[1] + row * p.grad_strides[2] + column * p.grad_strides[3]]);
  };

  const auto joint = drawn_joint<T>(d, map, person, k);
  Vector2<T> sum = {};
  visit_cells(joint_box(joint, T(d.sigma), T(d.stride), d.height, d.width), [&](int column, int row) {
    sum += confidence_gradient(d, map, person, k, column, row, grad(k, column, row));
  });
  for (int l = 0; l < d.limb_count; ++l) {
    const bool first = d.limbs[l][0] == k, second = d.limbs[l][1] == k;
    if (first == second) continue;
    const auto limb = drawn_limb<T>(d, map, person, l);
    const int channel = d.joints + 2 * l;
    Vector2<T> field = {};
    visit_cells(limb.box, [&](int column, int row) {
      if (!limb.covers(column, row, T(d.limb_width))) return;
      const T weight = limb_weight<T>(d, map, person, l, column, row);
      if (weight > 0) field += {weight * grad(channel, column, row), weight * grad(channel + 1, column, row)};
    });
    if (limb.length == 0) continue;
    const auto end = direction_gradient(limb, T(d.stride), field);
    sum += second ? end : Vector2<T>{-end.x, -end.y};
  }

  sum = sum_over_block(sum);
  if (threadIdx.x > 0) return;
  T* output = static_cast<T*>(p.grad_keypoints) + int64_t(blockIdx.x) * 3;
  output[0] = sum.x;
  output[1] = sum.y;
  output[2] = 0;
}

}  // namespace

void skeleton_maps_backward_cuda(const SkeletonMapsBackwardParams& params, cudaStream_t stream) {
  const SkeletonDrawing& d = params.drawing;
  const dim3 grid(blocks_for(d.maps * d.people * d.joints, 1));
  dispatch_cuda_floating(params.grad_dtype, [&](auto type) {
    using Grad = decltype(type);
    const auto kernel =
        d.keypoints_dtype == DType::kDouble ? sum_gradient<double, Grad> : sum_gradient<float, Grad>;
    launch(kernel, grid, dim3(kThreads), stream, params);
  });
}

}  // namespace pose2seg
