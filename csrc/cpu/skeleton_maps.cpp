#include "core/skeleton_maps.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "core/skeleton.h"
#include "cpu/dispatch.h"

// Writes each map once, row by row through a buffer in the arithmetic's own type. Threads share out the
// channels (a joint's map, or a limb's two). A row's cells are touched only where a joint's disc or a limb's
// box crosses it.

namespace pose2seg {
namespace {

template <class T, class Out>
class MapWriter {
 public:
  MapWriter(const SkeletonMapsParams& params, int64_t map)
      : p_(params), map_(map), row_x_(p_.width), row_y_(p_.width) {}

  void joint(int64_t k) {
    const T inverse_two_sigma2 = T(1 / (2 * p_.sigma * p_.sigma));
    const T radius = T(p_.sigma * std::sqrt(2 * kConfidenceCutoff)) / T(p_.stride) + 1;
    for (int64_t row = 0; row < p_.height; ++row) {
      std::fill(row_x_.begin(), row_x_.end(), T(0));
      const T y = cell_centre<T>(row, p_.stride);
      for (int64_t person = 0; person < p_.people; ++person) {
        const auto joint = load_joint(keypoint(person, k));
        if (!(joint.visible() && std::fabs(y - joint.y) <= radius * T(p_.stride))) continue;
        const T centre = (joint.x - cell_centre<T>(0, p_.stride)) / T(p_.stride);
        const int64_t first = clamp_index(centre - radius, p_.width);
        const int64_t last = clamp_index(centre + radius + 1, p_.width);
        for (int64_t column = first; column < last; ++column)
          row_x_[column] = draw_joint(row_x_[column], joint, cell_centre<T>(column, p_.stride), y,
                                      inverse_two_sigma2, p_.signed_visibility);
      }
      store(row_x_, k, row);
    }
  }

  void limb(int64_t l) {
    std::vector<Limb<T>> limbs(p_.people);
    for (int64_t person = 0; person < p_.people; ++person)
      limbs[person] = make_limb(load_joint(keypoint(person, p_.limbs[l][0])),
                                load_joint(keypoint(person, p_.limbs[l][1])), T(p_.limb_width), p_.stride,
                                p_.height, p_.width);
    for (int64_t row = 0; row < p_.height; ++row) {
      std::fill(row_x_.begin(), row_x_.end(), T(0));
      std::fill(row_y_.begin(), row_y_.end(), T(0));
      for (const auto& limb : limbs) {
        for (int64_t column = limb.left; column < limb.right; ++column) {
          if (!limb.covers(column, row)) continue;
          row_x_[column] = limb.unit_x;
          row_y_[column] = limb.unit_y;
        }
      }
      store(row_x_, p_.joints + 2 * l, row);
      store(row_y_, p_.joints + 2 * l + 1, row);
    }
  }

 private:
  const T* keypoint(int64_t person, int64_t k) const {
    return static_cast<const T*>(p_.keypoints) + ((map_ * p_.people + person) * p_.joints + k) * 3;
  }

  void store(const std::vector<T>& values, int64_t channel, int64_t row) {
    const int64_t channels = p_.joints + 2 * p_.limb_count;
    Out* output = static_cast<Out*>(p_.output) + ((map_ * channels + channel) * p_.height + row) * p_.width;
    std::transform(values.begin(), values.end(), output, [](T value) { return Out(value); });
  }

  const SkeletonMapsParams& p_;
  const int64_t map_;
  std::vector<T> row_x_, row_y_;
};

template <class T, class Out>
void draw(const SkeletonMapsParams& params) {
  const int64_t parts = params.joints + params.limb_count;
  at::parallel_for(0, params.maps * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      MapWriter<T, Out> writer(params, i / parts);
      const int64_t part = i % parts;
      part < params.joints ? writer.joint(part) : writer.limb(part - params.joints);
    }
  });
}

}  // namespace

void skeleton_maps_cpu(const SkeletonMapsParams& params) {
  dispatch_floating(params.output_dtype, [&](auto type) {
    using Out = decltype(type);
    params.keypoints_dtype == DType::kDouble ? draw<double, Out>(params) : draw<float, Out>(params);
  });
}

}  // namespace pose2seg
