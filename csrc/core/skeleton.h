#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/host_device.h"
#include "core/range.h"
#include "core/rounded.h"

namespace pose2seg {

// The cutoff of a confidence map: d^2 / (2 sigma^2) < 4.6025, which keeps values above about 0.01.
constexpr double kConfidenceCutoff = 4.6025;

// The value of a cell that limbs of several people cover.
enum class LimbOverlap { kLast, kMean };

template <class T>
struct Joint {
  T x, y, visibility;

  HOST_DEVICE bool visible() const { return visibility > 0; }
};

// A box of cells of a map; right and bottom are exclusive.
struct Box {
  int left, right, top, bottom;

  HOST_DEVICE bool contains(int column, int row) const {
    return column >= left && column < right && row >= top && row < bottom;
  }
};

// Returns the coordinate, in keypoint units, of the centre of cell i of a map with this stride.
template <class T>
HOST_DEVICE T cell_centre(int cell, T stride) {
  return T(cell) * stride + (stride / 2 - T(0.5));
}

HOST_DEVICE Box clamp_to_map(double left, double right, double top, double bottom, int height, int width) {
  return {int(clamp_index(left, width)), int(clamp_index(right, width)), int(clamp_index(top, height)),
          int(clamp_index(bottom, height))};
}

// Returns a box around the cells that the confidence of a joint reaches.
template <class T>
HOST_DEVICE Box joint_box(const Joint<T>& joint, T sigma, T stride, int height, int width) {
  if (!joint.visible()) return {};
  const T radius = sigma * T(std::sqrt(2 * kConfidenceCutoff)) / stride + 1;
  const T x = (joint.x - cell_centre(0, stride)) / stride, y = (joint.y - cell_centre(0, stride)) / stride;
  return clamp_to_map(x - radius, x + radius + 1, y - radius, y + radius + 1, height, width);
}

// Returns e^-x. By CUDA's documentation, the error of __expf up to the cutoff is at most 7 units in the last
// place. It takes a third of the instructions.
template <class T>
HOST_DEVICE T exp_of_negative(T x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, float>) return __expf(-x);
#endif
  return std::exp(-x);
}

// Draws one more joint over the value of the confidence map at (x, y), and returns whether the value now
// comes from this joint. With signed visibility, a labelled but occluded joint (visibility 1) negates the
// value that it is drawn over, so the result depends on the order of people.
template <class T>
HOST_DEVICE bool draw_joint(T& value, const Joint<T>& joint, T x, T y, T inverse_two_sigma2,
                            bool signed_visibility) {
  const T dx = x - joint.x, dy = y - joint.y;
  const T exponent = (dx * dx + dy * dy) * inverse_two_sigma2;
  if (!(joint.visible() && exponent < T(kConfidenceCutoff))) return false;
  const T confidence = exp_of_negative(exponent);
  const bool exceeds = confidence > value;
  if (exceeds) value = confidence;
  if (signed_visibility && joint.visibility == 1) value = -value;
  return exceeds;
}

// The cells of one limb: those within the bounding box of its two joints (widened, then rounded half to even)
// whose distance to the infinite line through the joints is less than the limb width. All of them hold the
// direction of the limb.
template <class T>
struct Limb {
  T x, y;            // first joint, in cells
  T unit_x, unit_y;  // direction from the first joint to the second
  T length;          // from joint to joint, in cells
  Box box;           // empty when there is nothing to draw

  HOST_DEVICE bool covers(int column, int row, T width) const {
    return box.contains(column, row) && std::fabs(distance(column, row_offset(row))) < width;
  }

  // What the distances of all cells of a row from the line have in common.
  HOST_DEVICE T row_offset(int row) const { return rounded_product(T(row) - y, unit_x); }

  // The signed distance of a cell from the line, which rises or falls monotonically along a row.
  HOST_DEVICE T distance(int column, T row_offset) const {
    return rounded_product(T(column) - x, unit_y) - row_offset;
  }

  // Bounds of the columns that the limb covers in a row, with a margin for rounding.
  HOST_DEVICE void columns(int row, T width, int& first, int& last) const {
    const T along = (T(row) - y) * unit_x / unit_y, reach = width / std::fabs(unit_y);
    const T room = 1 + T(1e-5) * (std::fabs(x) + std::fabs(along) + reach);
    const bool bounded = std::isfinite(room);
    first =
        bounded ? int(clamp_index(std::fmax(T(box.left), x + along - reach - room), box.right)) : box.left;
    last = bounded ? int(clamp_index(x + along + reach + room + 1, box.right)) : box.right;
  }
};

template <class T>
HOST_DEVICE Limb<T> make_limb(const Joint<T>& from, const Joint<T>& to, T width, T stride, int map_height,
                              int map_width) {
  const T x = from.x / stride, y = from.y / stride, other_x = to.x / stride, other_y = to.y / stride;
  const T length = std::hypot(other_x - x, other_y - y);
  if (!(from.visible() && to.visible() && length > 0 && std::isfinite(length))) return {};
  const Box box =
      clamp_to_map(std::rint(std::fmin(x, other_x) - width), std::rint(std::fmax(x, other_x) + width),
                   std::rint(std::fmin(y, other_y) - width), std::rint(std::fmax(y, other_y) + width),
                   map_height, map_width);
  return {x, y, (other_x - x) / length, (other_y - y) / length, length, box};
}

// The vector of a part affinity field in one cell, while people are drawn one after the other.
template <class T>
struct FieldCell {
  T sum_x, sum_y;
  int people;

  HOST_DEVICE void draw(T unit_x, T unit_y, LimbOverlap overlap) {
    const bool joins = overlap == LimbOverlap::kMean && people > 0;
    sum_x = joins ? sum_x + unit_x : unit_x;
    sum_y = joins ? sum_y + unit_y : unit_y;
    people = joins ? people + 1 : 1;
  }

  HOST_DEVICE T x() const { return people > 1 ? sum_x / T(people) : sum_x; }
  HOST_DEVICE T y() const { return people > 1 ? sum_y / T(people) : sum_y; }
};

}  // namespace pose2seg
