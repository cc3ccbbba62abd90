#include "core/skeleton_maps_backward.h"

#include "core/skeleton_gradient.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"

// Reads the gradient of the cells that the joints and limbs of a person reach, and writes the gradient of
// each keypoint once. Threads divide the people. The sums of a person follow the order of joints, limbs and
// cells.

namespace pose2seg {
namespace {

template <class T, class Grad>
struct PersonGradient {
  const SkeletonMapsBackwardParams& p;
  const SkeletonDrawing& d;
  const int64_t map, person;
  T* const grad_keypoints;  // (joints, 3)

  T grad(int64_t channel, int64_t column, int64_t row) const {
    const int64_t* strides = p.grad_strides;
    return T(static_cast<const Grad*>(
        p.grad)[map * strides[0] + channel * strides[1] + row * strides[2] + column * strides[3]]);
  }

  void add(int k, const Vector2<T>& gradient) const {
    grad_keypoints[3 * k] += gradient.x;
    grad_keypoints[3 * k + 1] += gradient.y;
  }

  void joint(int k) const {
    const auto joint = drawn_joint<T>(d, map, person, k);
    const Box box = joint_box(joint, T(d.sigma), T(d.stride), d.height, d.width);
    Vector2<T> sum = {};
    for (int row = box.top; row < box.bottom; ++row)
      for (int column = box.left; column < box.right; ++column)
        sum += confidence_gradient(d, map, person, k, column, row, grad(k, column, row));
    add(k, sum);
  }

  void limb(int l) const {
    const auto limb = drawn_limb<T>(d, map, person, l);
    const int channel = d.joints + 2 * l;
    Vector2<T> sum = {};
    for (int row = limb.box.top; row < limb.box.bottom; ++row) {
      int column, end;
      for (limb.columns(row, T(d.limb_width), column, end); column < end; ++column) {
        if (!limb.covers(column, row, T(d.limb_width))) continue;
        const T weight = limb_weight<T>(d, map, person, l, column, row);
        if (weight > 0) sum += {weight * grad(channel, column, row), weight * grad(channel + 1, column, row)};
      }
    }
    if (limb.length == 0) return;
    const auto second = direction_gradient(limb, T(d.stride), sum);
    add(d.limbs[l][0], {-second.x, -second.y});
    add(d.limbs[l][1], second);
  }
};

template <class T, class Grad>
void gradient(const SkeletonMapsBackwardParams& p) {
  const SkeletonDrawing& d = p.drawing;
  parallel_for(0, d.maps * d.people, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* grad_keypoints = static_cast<T*>(p.grad_keypoints) + i * d.joints * 3;
      std::fill_n(grad_keypoints, d.joints * 3, T(0));
      const PersonGradient<T, Grad> person{p, d, i / d.people, i % d.people, grad_keypoints};
      for (int k = 0; k < d.joints; ++k) person.joint(k);
      for (int l = 0; l < d.limb_count; ++l) person.limb(l);
    }
  });
}

}  // namespace

void skeleton_maps_backward_cpu(const SkeletonMapsBackwardParams& params) {
  dispatch_floating(params.grad_dtype, [&](auto type) {
    using Grad = decltype(type);
    params.drawing.keypoints_dtype == DType::kDouble ? gradient<double, Grad>(params)
                                                     : gradient<float, Grad>(params);
  });
}

}  // namespace pose2seg
