#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/sample_windows.h"

namespace pose2seg {

// A rectangle of pixels, [left, right) x [top, bottom).
struct Box {
  int64_t left = INT64_MAX, top = INT64_MAX, right = 0, bottom = 0;

  bool is_empty() const { return left >= right; }
  int64_t width() const { return right - left; }
  int64_t height() const { return bottom - top; }
  bool has_row(int64_t y) const { return y >= top && y < bottom; }

  void add(int64_t x, int64_t y) {
    left = std::min(left, x);
    top = std::min(top, y);
    right = std::max(right, x + 1);
    bottom = std::max(bottom, y + 1);
  }
  void add(const Box& other) {
    left = std::min(left, other.left);
    top = std::min(top, other.top);
    right = std::max(right, other.right);
    bottom = std::max(bottom, other.bottom);
  }
};

// Rows [first, last) of a window.
struct Rows {
  int64_t first, last;
};

// Calls body(part) for parts of `rows` that are sampled together. If there is no gap in memory between rows,
// a part has several, so that small windows fill whole vectors of pixels. It has fewer if each pixel has many
// samples, since their taps are stored.
template <class T, class Body>
void for_each_rows(const SampledWindows& p, const WindowSampler<T>& sampler, Rows rows, const Body& body) {
  constexpr int64_t kPixels = 256, kSamples = 1024;
  const bool has_no_gap = p.output_strides[2] == p.out_width * p.output_strides[3];
  const int64_t pixels = std::min(kPixels, kSamples / (sampler.across * sampler.down));
  const int64_t together = has_no_gap ? std::max<int64_t>(1, pixels / p.out_width) : 1;
  for (int64_t row = rows.first; row < rows.last; row += together)
    body(Rows{row, std::min(row + together, rows.last)});
}

template <class T>
struct PixelTap {
  int64_t x, y;
  T weight;
};

// The columns or the rows of the input that an output pixel reads if its window is not rotated, with the sums
// of their weights in all samples.
template <class T>
class AxisSums {
 public:
  struct Term {
    int64_t at;
    T weight;
  };

  template <int kTaps>
  void find(T pixel, T scale, T shift, int64_t samples, int64_t side, Padding padding) {
    terms_.clear();
    for (int64_t i = 0; i < samples; ++i) {
      const T x = scale * (pixel + WindowSampler<T>::position(i, samples)) + shift;
      if (padding == Padding::kRoIAlign && !(x >= -1 && x <= T(side))) continue;
      const auto taps = axis_taps<kTaps>(x, side, padding);
      T weights[kTaps];
      tap_weights(taps.t, weights);
      for (int k = 0; k < kTaps; ++k)
        if (taps.at[k] >= 0) add(taps.at[k], weights[k] / T(samples));
    }
  }

  const std::vector<Term>& terms() const { return terms_; }

 private:
  void add(int64_t at, T weight) {
    for (auto term = terms_.rbegin(); term != terms_.rend() && term - terms_.rbegin() < kSearched; ++term)
      if (term->at == at) {
        term->weight += weight;
        return;
      }
    terms_.push_back({at, weight});
  }

  static constexpr int kSearched = 8;  // the taps of two samples

  std::vector<Term> terms_;
};

// The input pixels of which an output pixel is the weighted sum, for the output pixels of some rows, which
// are counted from the first column of the first row.
template <class T>
class PixelTaps {
 public:
  using Tap = PixelTap<T>;

  void find(const WindowSampler<T>& sampler, Interpolation interpolation, Rows rows, int64_t columns) {
    taps_.clear();
    ends_.clear();
    dispatch_taps(interpolation, [&](auto count) {
      if (sampler.is_separable()) return find_products<count>(sampler, rows, columns);
      for (int64_t row = rows.first; row < rows.last; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          sampler.visit(column, row, [&](const auto& at) {
            sampler.template visit_taps<count>(
                at, [&](int64_t x, int64_t y, T weight) { taps_.push_back({x, y, weight}); });
          });
          ends_.push_back(taps_.size());
        }
    });
  }

  int64_t pixels() const { return int64_t(ends_.size()); }

  // The taps of a pixel, [begin, end).
  const Tap* begin(int64_t pixel) const { return taps_.data() + (pixel == 0 ? 0 : ends_[pixel - 1]); }
  const Tap* end(int64_t pixel) const { return taps_.data() + ends_[pixel]; }

  size_t count() const { return taps_.size(); }

  void add_to(Box& box) const {
    for (const Tap& tap : taps_) box.add(tap.x, tap.y);
  }

 private:
  template <int kTaps>
  void find_products(const WindowSampler<T>& sampler, Rows rows, int64_t columns) {
    const auto& m = sampler.to_input;
    if (columns_.size() < size_t(columns)) columns_.resize(columns);
    for (int64_t column = 0; column < columns; ++column)
      columns_[column].template find<kTaps>(T(column), m.a, m.c, sampler.across, sampler.width,
                                            sampler.padding);
    for (int64_t row = rows.first; row < rows.last; ++row) {
      row_.template find<kTaps>(T(row), m.e, m.f, sampler.down, sampler.height, sampler.padding);
      for (int64_t column = 0; column < columns; ++column) {
        for (const auto& y : row_.terms())
          for (const auto& x : columns_[column].terms()) taps_.push_back({x.at, y.at, y.weight * x.weight});
        ends_.push_back(taps_.size());
      }
    }
  }

  std::vector<Tap> taps_;
  std::vector<size_t> ends_;
  AxisSums<T> row_;
  std::vector<AxisSums<T>> columns_;
};

}  // namespace pose2seg
