#include "core/skeleton_maps.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

// If the column stride of the output is 1, threads divide the maps of joints and the pairs of maps of limbs;
// each map is cleared as a whole and then written only where something is drawn. If its channel stride is 1,
// threads divide the rows, and each row is drawn in a buffer of the accumulation type.

namespace pose2seg {
namespace {

// A range of rows of a map, or of columns of a row; `last` is exclusive.
struct Range {
  int first, last;

  void include(int begin, int end) {
    if (begin >= end) return;
    first = std::min(first, begin);
    last = std::max(last, end);
  }
};

// Prepares what is drawn into one map, and draws one row of it. `step` is the distance between columns.
template <class T>
class Painter {
 public:
  explicit Painter(const SkeletonDrawing& drawing) : d_(drawing), cells_(drawing.width) {}

  void start(int64_t map) {
    map_ = map;
    joints_.clear();
    limbs_.clear();
  }

  // Prepares joint k of all people, and returns the rows that it reaches; likewise for limbs.
  Range prepare_joint(int k) {
    Range rows = {d_.height, 0};
    for (int64_t person = 0; person < d_.people; ++person) {
      const auto joint = drawn_joint<T>(d_, map_, person, k);
      const Box box = joint_box(joint, T(d_.sigma), T(d_.stride), d_.height, d_.width);
      joints_.push_back({joint, box});
      rows.include(box.top, box.bottom);
    }
    return rows;
  }

  Range prepare_limb(int l) {
    Range rows = {d_.height, 0};
    for (int64_t person = 0; person < d_.people; ++person) {
      limbs_.push_back(drawn_limb<T>(d_, map_, person, l));
      rows.include(limbs_.back().box.top, limbs_.back().box.bottom);
    }
    return rows;
  }

  // Draws the i-th prepared joint over zeros, and returns the range of columns outside of which they remain
  // zeros.
  Range draw_joint_row(int64_t i, int row, T* values, int64_t step) const {
    const T stride = T(d_.stride), y = cell_centre(row, stride), inverse = T(d_.inverse_two_sigma2);
    Range drawn = {d_.width, 0};
    for (auto at = joints_.begin() + i * d_.people; at != joints_.begin() + (i + 1) * d_.people; ++at) {
      if (row < at->box.top || row >= at->box.bottom) continue;
      drawn.include(at->box.left, at->box.right);
      for (int column = at->box.left; column < at->box.right; ++column)
        draw_joint(values[column * step], at->joint, cell_centre(column, stride), y, inverse,
                   d_.signed_visibility);
    }
    return drawn;
  }

  // Draws the i-th prepared limb in the same way.
  Range draw_limb_row(int64_t i, int row, T* x, T* y, int64_t step) {
    Range drawn = {d_.width, 0};
    for (auto limb = limbs_.begin() + i * d_.people; limb != limbs_.begin() + (i + 1) * d_.people; ++limb) {
      if (row < limb->box.top || row >= limb->box.bottom) continue;
      int begin, end;
      limb->columns(row, T(d_.limb_width), begin, end);
      drawn.include(begin, end);
      for (int column = begin; column < end; ++column)
        if (limb->covers(column, row, T(d_.limb_width)))
          cells_[column].draw(limb->unit_x, limb->unit_y, d_.limb_overlap);
    }
    for (int column = drawn.first; column < drawn.last; ++column) {
      x[column * step] = cells_[column].x();
      y[column * step] = cells_[column].y();
      cells_[column] = {};
    }
    return drawn;
  }

 private:
  struct PreparedJoint {
    Joint<T> joint;
    Box box;
  };

  const SkeletonDrawing& d_;
  int64_t map_ = 0;
  std::vector<PreparedJoint> joints_;  // ordered by joint, then person
  std::vector<Limb<T>> limbs_;         // ordered by limb, then person
  std::vector<FieldCell<T>> cells_;    // all empty between rows
};

// Calls draw(values, others), which draws over two rows of zeros. These are the rows `x` and `y` of the
// output if their type allows it, otherwise rows of `buffer`.
template <class T, class Out, class Draw>
void draw_row(std::vector<T>& buffer, Out* x, Out* y, const Draw& draw) {
  if constexpr (std::is_same_v<T, Out>) {
    draw(x, y);
  } else {
    T* const values = buffer.data();
    T* const others = values + buffer.size() / 2;
    const Range drawn = draw(values, others);
    for (int column = drawn.first; column < drawn.last; ++column) {
      x[column] = Out(values[column]);
      if (y != x) y[column] = Out(others[column]);
      values[column] = others[column] = 0;
    }
  }
}

// Draws the map of one joint, or the two maps of one limb.
template <class T, class Out>
void draw_part(const SkeletonMapsParams& p, Painter<T>& painter, int64_t map, int part,
               std::vector<T>& buffer) {
  const SkeletonDrawing& d = p.drawing;
  const int64_t cells = int64_t(d.height) * d.width;
  const int l = part - d.joints;
  Out* const plane = static_cast<Out*>(p.output) + map * p.output_strides[0] +
                     int64_t(l < 0 ? part : d.joints + 2 * l) * cells;
  Out* const second = l < 0 ? plane : plane + cells;
  std::fill(plane, second + cells, Out(0));
  painter.start(map);
  const Range rows = l < 0 ? painter.prepare_joint(part) : painter.prepare_limb(l);
  for (int row = rows.first; row < rows.last; ++row) {
    const int64_t at = int64_t(row) * d.width;
    draw_row(buffer, plane + at, second + at, [&](T* x, T* y) {
      return l < 0 ? painter.draw_joint_row(0, row, x, 1) : painter.draw_limb_row(0, row, x, y, 1);
    });
  }
}

template <class T, class Out>
void draw_planes(const SkeletonMapsParams& p) {
  const int parts = p.drawing.joints + p.drawing.limb_count;
  parallel_for(0, p.drawing.maps * parts, 1, [&](int64_t begin, int64_t end) {
    Painter<T> painter(p.drawing);
    std::vector<T> buffer(2 * int64_t(p.drawing.width));
    for (int64_t i = begin; i < end; ++i) draw_part<T, Out>(p, painter, i / parts, int(i % parts), buffer);
  });
}

template <class T, class Out>
void draw_channels_last(const SkeletonMapsParams& p) {
  const SkeletonDrawing& d = p.drawing;
  const int channels = d.channels();
  parallel_for(0, d.maps * d.height, 8, [&](int64_t begin, int64_t end) {
    std::vector<T> cells(int64_t(d.width) * channels);
    Painter<T> painter(d);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t map = i / d.height;
      const int row = int(i % d.height);
      if (row == 0 || i == begin) {
        painter.start(map);
        for (int k = 0; k < d.joints; ++k) painter.prepare_joint(k);
        for (int l = 0; l < d.limb_count; ++l) painter.prepare_limb(l);
      }
      std::fill(cells.begin(), cells.end(), T(0));
      for (int k = 0; k < d.joints; ++k) painter.draw_joint_row(k, row, &cells[k], channels);
      for (int l = 0; l < d.limb_count; ++l) {
        T* field = &cells[d.joints + 2 * l];
        painter.draw_limb_row(l, row, field, field + 1, channels);
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
