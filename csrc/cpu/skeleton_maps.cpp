#include "core/skeleton_maps.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cpu/dispatch.h"

// Writes each cell once, by way of a buffer of one row, in the arithmetic's own type, that stays in the
// cache. Where the output's columns are neighbours in memory, the row is of one joint's map or of one limb's
// two, and threads share out these; where its channels are, the row is of all channels, and threads share out
// the rows.

namespace pose2seg {
namespace {

// What is drawn into one map, prepared; and the drawing of one row. `step` is from column to column.
template <class T>
class Painter {
 public:
  Painter(const SkeletonDrawing& drawing, int64_t map) : d_(drawing), map_(map), cells_(drawing.width) {}

  void prepare_joint(int k) {
    for (int64_t person = 0; person < d_.people; ++person) {
      const auto joint = drawn_joint<T>(d_, map_, person, k);
      joints_.push_back({joint, joint_box(joint, T(d_.sigma), T(d_.stride), d_.height, d_.width)});
    }
  }

  void prepare_limb(int l) {
    for (int64_t person = 0; person < d_.people; ++person)
      limbs_.push_back(drawn_limb<T>(d_, map_, person, l));
  }

  // The i-th joint that was prepared, over zeros.
  void draw_joint_row(int64_t i, int row, T* values, int64_t step) const {
    const T stride = T(d_.stride), y = cell_centre(row, stride), inverse = inverse_two_sigma2<T>(d_);
    for (auto at = joints_.begin() + i * d_.people; at != joints_.begin() + (i + 1) * d_.people; ++at) {
      if (row < at->box.top || row >= at->box.bottom) continue;
      for (int column = at->box.left; column < at->box.right; ++column)
        draw_joint(values[column * step], at->joint, cell_centre(column, stride), y, inverse,
                   d_.signed_visibility);
    }
  }

  // The i-th limb that was prepared, over zeros.
  void draw_limb_row(int64_t i, int row, T* x, T* y, int64_t step) {
    int first = d_.width, last = 0;
    for (auto limb = limbs_.begin() + i * d_.people; limb != limbs_.begin() + (i + 1) * d_.people; ++limb) {
      if (row < limb->box.top || row >= limb->box.bottom) continue;
      first = std::min(first, limb->box.left);
      last = std::max(last, limb->box.right);
      for (int column = limb->box.left; column < limb->box.right; ++column)
        if (limb->covers(column, row, T(d_.limb_width))) cells_[column].draw(*limb, d_.limb_overlap);
    }
    for (int column = first; column < last; ++column) {
      x[column * step] = cells_[column].x();
      y[column * step] = cells_[column].y();
      cells_[column] = {};
    }
  }

 private:
  struct PreparedJoint {
    Joint<T> joint;
    Box box;
  };

  const SkeletonDrawing& d_;
  const int64_t map_;
  std::vector<PreparedJoint> joints_;  // by joint, then person
  std::vector<Limb<T>> limbs_;         // by limb, then person
  std::vector<FieldCell<T>> cells_;    // all empty between rows
};

template <class T, class Out>
void draw_planes(const SkeletonMapsParams& p) {
  const SkeletonDrawing& d = p.drawing;
  const int64_t* strides = p.output_strides;
  const int parts = d.joints + d.limb_count;
  at::parallel_for(0, d.maps * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> x(d.width), y(d.width);
    const auto store = [&](const std::vector<T>& values, int64_t map, int64_t channel, int64_t row) {
      Out* output = static_cast<Out*>(p.output) + map * strides[0] + channel * strides[1] + row * strides[2];
      for (int64_t column = 0; column < d.width; ++column) output[column * strides[3]] = Out(values[column]);
    };
    for (int64_t i = begin; i < end; ++i) {
      const int64_t map = i / parts;
      const int part = int(i % parts), l = part - d.joints;
      Painter<T> painter(d, map);
      part < d.joints ? painter.prepare_joint(part) : painter.prepare_limb(l);
      for (int row = 0; row < d.height; ++row) {
        std::fill(x.begin(), x.end(), T(0));
        std::fill(y.begin(), y.end(), T(0));
        if (part < d.joints) {
          painter.draw_joint_row(0, row, x.data(), 1);
          store(x, map, part, row);
        } else {
          painter.draw_limb_row(0, row, x.data(), y.data(), 1);
          store(x, map, d.joints + 2 * l, row);
          store(y, map, d.joints + 2 * l + 1, row);
        }
      }
    }
  });
}

template <class T, class Out>
void draw_channels_last(const SkeletonMapsParams& p) {
  const SkeletonDrawing& d = p.drawing;
  const int channels = d.channels();
  at::parallel_for(0, d.maps * d.height, 8, [&](int64_t begin, int64_t end) {
    std::vector<T> cells(int64_t(d.width) * channels);
    std::optional<Painter<T>> painter;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t map = i / d.height;
      const int row = int(i % d.height);
      if (row == 0 || !painter) {
        painter.emplace(d, map);
        for (int k = 0; k < d.joints; ++k) painter->prepare_joint(k);
        for (int l = 0; l < d.limb_count; ++l) painter->prepare_limb(l);
      }
      std::fill(cells.begin(), cells.end(), T(0));
      for (int k = 0; k < d.joints; ++k) painter->draw_joint_row(k, row, &cells[k], channels);
      for (int l = 0; l < d.limb_count; ++l) {
        T* field = &cells[d.joints + 2 * l];
        painter->draw_limb_row(l, row, field, field + 1, channels);
      }
      Out* output = static_cast<Out*>(p.output) + map * p.output_strides[0] + row * p.output_strides[2];
      for (int64_t column = 0; column < d.width; ++column)
        std::transform(&cells[column * channels], &cells[column * channels] + channels,
                       output + column * p.output_strides[3], [](T value) { return Out(value); });
    }
  });
}

template <class T, class Out>
void draw(const SkeletonMapsParams& p) {
  p.output_strides[1] == 1 ? draw_channels_last<T, Out>(p) : draw_planes<T, Out>(p);
}

}  // namespace

void skeleton_maps_cpu(const SkeletonMapsParams& params) {
  dispatch_floating(params.output_dtype, [&](auto type) {
    using Out = decltype(type);
    params.drawing.keypoints_dtype == DType::kDouble ? draw<double, Out>(params) : draw<float, Out>(params);
  });
}

}  // namespace pose2seg
