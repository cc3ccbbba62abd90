#include "core/skeleton.h"
#include "core/skeleton_maps.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Writes each map once; reads the joints. A block draws 256 cells of one joint's map, or of one limb's two,
// with a thread per cell: neighbouring threads write neighbouring cells. The block first prepares that joint
// or limb of up to 32 people in shared memory, then every thread draws them over its cell, in order.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int kPeopleAtOnce = 32;

template <class T>
__device__ const T* keypoint(const SkeletonMapsParams& p, int64_t map, int64_t person, int64_t k) {
  return static_cast<const T*>(p.keypoints) + ((map * p.people + person) * p.joints + k) * 3;
}

template <class Out>
__device__ Out* plane(const SkeletonMapsParams& p, int64_t map, int64_t channel) {
  const int64_t channels = p.joints + 2 * p.limb_count;
  return static_cast<Out*>(p.output) + (map * channels + channel) * p.height * p.width;
}

template <class T, class Out>
__device__ void draw_joint_map(const SkeletonMapsParams& p, int64_t map, int64_t k, int64_t cell) {
  __shared__ Joint<T> joints[kPeopleAtOnce];
  const T inverse_two_sigma2 = T(1 / (2 * p.sigma * p.sigma));
  const T x = cell_centre<T>(cell % p.width, p.stride), y = cell_centre<T>(cell / p.width, p.stride);
  T value = 0;
  for (int64_t first = 0; first < p.people; first += kPeopleAtOnce) {
    const int count = int(p.people - first < kPeopleAtOnce ? p.people - first : kPeopleAtOnce);
    __syncthreads();
    if (threadIdx.x < count) joints[threadIdx.x] = load_joint(keypoint<T>(p, map, first + threadIdx.x, k));
    __syncthreads();
    for (int i = 0; i < count; ++i)
      value = draw_joint(value, joints[i], x, y, inverse_two_sigma2, p.signed_visibility);
  }
  if (cell < p.height * p.width) plane<Out>(p, map, k)[cell] = Out(value);
}

template <class T, class Out>
__device__ void draw_limb_maps(const SkeletonMapsParams& p, int64_t map, int64_t l, int64_t cell) {
  __shared__ Limb<T> limbs[kPeopleAtOnce];
  T unit_x = 0, unit_y = 0;
  for (int64_t first = 0; first < p.people; first += kPeopleAtOnce) {
    const int count = int(p.people - first < kPeopleAtOnce ? p.people - first : kPeopleAtOnce);
    __syncthreads();
    if (threadIdx.x < count) {
      const auto from = load_joint(keypoint<T>(p, map, first + threadIdx.x, p.limbs[l][0]));
      const auto to = load_joint(keypoint<T>(p, map, first + threadIdx.x, p.limbs[l][1]));
      limbs[threadIdx.x] = make_limb(from, to, T(p.limb_width), p.stride, p.height, p.width);
    }
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      if (!limbs[i].covers(cell % p.width, cell / p.width)) continue;
      unit_x = limbs[i].unit_x;
      unit_y = limbs[i].unit_y;
    }
  }
  if (cell >= p.height * p.width) return;
  plane<Out>(p, map, p.joints + 2 * l)[cell] = Out(unit_x);
  plane<Out>(p, map, p.joints + 2 * l + 1)[cell] = Out(unit_y);
}

template <class T, class Out>
__global__ void __launch_bounds__(kThreads)
    draw_skeletons(const SkeletonMapsParams p, int64_t blocks_per_part) {
  const int64_t parts = p.joints + p.limb_count;
  const int64_t part = int64_t(blockIdx.x) / blocks_per_part;
  const int64_t cell = int64_t(blockIdx.x) % blocks_per_part * kThreads + threadIdx.x;
  if (part % parts < p.joints)
    draw_joint_map<T, Out>(p, part / parts, part % parts, cell);
  else
    draw_limb_maps<T, Out>(p, part / parts, part % parts - p.joints, cell);
}

}  // namespace

void skeleton_maps_cuda(const SkeletonMapsParams& params, cudaStream_t stream) {
  const int64_t blocks_per_part = blocks_for(params.height * params.width, kThreads);
  const int64_t blocks = params.maps * (params.joints + params.limb_count) * blocks_per_part;
  dispatch_floating(params.output_dtype, [&](auto type) {
    using Out = decltype(type);
    const auto kernel =
        params.keypoints_dtype == DType::kDouble ? draw_skeletons<double, Out> : draw_skeletons<float, Out>;
    launch(kernel, dim3(blocks_for(blocks, 1)), dim3(kThreads), stream, params, blocks_per_part);
  });
}

}  // namespace pose2seg
