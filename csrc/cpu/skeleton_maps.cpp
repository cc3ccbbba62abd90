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

  // The i-th joint that was prepared, over zeros; whether there is anything.
  bool draw_joint_row(int64_t i, int row, T* values, int64_t step) const {
    const T stride = T(d_.stride), y = cell_centre(row, stride), inverse = inverse_two_sigma2<T>(d_);
    bool drawn = false;
    for (auto at = joints_.begin() + i * d_.people; at != joints_.begin() + (i + 1) * d_.people; ++at) {
      if (row < at->box.top || row >= at->box.bottom) continue;
      drawn = true;
      for (int column = at->box.left; column < at->box.right; ++column)
        draw_joint(values[column * step], at->joint, cell_centre(column, stride), y, inverse,
                   d_.signed_visibility);
    }
    return drawn;
  }

  // The i-th limb that was prepared, over zeros; whether there is anything.
  bool draw_limb_row(int64_t i, int row, T* x, T* y, int64_t step) {
    int first = d_.width, last = 0;
    for (auto limb = limbs_.begin() + i * d_.people; limb != limbs_.begin() + (i + 1) * d_.people; ++limb) {
      if (row < limb->box.top || row >= limb->box.bottom) continue;
      int begin, end;
      limb->columns(row, T(d_.limb_width), begin, end);
      first = std::min(first, begin);
      last = std::max(last, end);
      for (int column = begin; column < end; ++column)
        if (limb->covers(column, row, T(d_.limb_width))) cells_[column].draw(*limb, d_.limb_overlap);
    }
    for (int column = first; column < last; ++column) {
      x[column * step] = cells_[column].x();
      y[column * step] = cells_[column].y();
      cells_[column] = {};
    }
    return first < last;
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

// One joint's map, or one limb's two.
template <class T, class Out>
void draw_part(const SkeletonMapsParams& p, int64_t map, int part, std::vector<T>& x, std::vector<T>& y) {
  const SkeletonDrawing& d = p.drawing;
  const auto store = [&](std::vector<T>& values, bool drawn, int64_t channel, int64_t row) {
    Out* output = static_cast<Out*>(p.output) + map * p.output_strides[0] + channel * p.output_strides[1] +
                  row * p.output_strides[2];
    if (!drawn) {
      std::fill_n(output, d.width, Out(0));
      return;
    }
    std::transform(values.begin(), values.end(), output, [](T value) { return Out(value); });
    std::fill(values.begin(), values.end(), T(0));
  };
  Painter<T> painter(d, map);
  const int l = part - d.joints;
  l < 0 ? painter.prepare_joint(part) : painter.prepare_limb(l);
  for (int row = 0; row < d.height; ++row) {
    if (l < 0) {
      store(x, painter.draw_joint_row(0, row, x.data(), 1), part, row);
    } else {
      const bool drawn = painter.draw_limb_row(0, row, x.data(), y.data(), 1);
      store(x, drawn, d.joints + 2 * l, row);
      store(y, drawn, d.joints + 2 * l + 1, row);
    }
  }
}

template <class T, class Out>
void draw_planes(const SkeletonMapsParams& p) {
  const int parts = p.drawing.joints + p.drawing.limb_count;
  at::parallel_for(0, p.drawing.maps * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> x(p.drawing.width), y(p.drawing.width);
    for (int64_t i = begin; i < end; ++i) draw_part<T, Out>(p, i / parts, int(i % parts), x, y);
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
