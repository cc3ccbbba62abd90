#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"
#include "cpu/transpose.h"

// Reads every output gradient once for each band of the input that it has taps in, which is nearly always
// one, and writes every input gradient once. Threads divide the input into bands of rows, and these into
// slices of channels. Each task accumulates into its own sums in a fixed order: one instance after the other,
// pixel by pixel.

namespace pose2seg {
namespace {

// The channels of a slice: one vector, or several if together they fill whole cache lines.
constexpr int kNarrow = kLanes, kWide = 64;

// The maximum number of sums of a band, such that they stay in the L2 cache.
constexpr int64_t kBandSums = 1 << 16;

template <class T, int kSlice>
class InputGradient {
  using Compute = accumulate_t<T>;

 public:
  explicit InputGradient(const AffineAlignBackwardInputParams& params)
      : p_(params),
        rows_(band_rows(p_.width * kSlice, p_.height)),
        sums_(rows_ * p_.width * kSlice),
        slices_(p_.out_width * kSlice) {}

  Tasks tasks() const { return {p_.batch, p_.height, p_.channels, rows_, kSlice}; }

  template <int kBytes>
  void run(const Task& task) {
    const MapRows map = {task.first, task.last, p_.width, p_.width * kSlice, kSlice};
    std::fill_n(sums_.begin(), map.offset(0, task.last), Compute(0));
    RowTaps<Compute> taps(map, p_.out_width);
    for (int64_t n = 0; n < p_.instances; ++n) {
      if (p_.batch_index[n] != task.map || !reaches(n, map)) continue;
      const auto to_input = p_.to_input<Compute>(n);
      for (int64_t row = 0; row < p_.out_height; ++row) {
        taps.find(to_input, row);
        add_row<kBytes>(taps, gradients(n, row, task.channel), task.channels);
      }
    }
    for (int64_t row = task.first; row < task.last; ++row)
      store_row<kBytes>(task, row, &sums_[map.offset(0, row)]);
  }

 private:
  // A power of two, so that floating-point numbers represent the first row of every band exactly.
  static int64_t band_rows(int64_t row_sums, int64_t height) {
    int64_t rows = 1;
    while (rows < height && 2 * rows * row_sums <= kBandSums) rows *= 2;
    return rows;
  }

  // Rounding preserves the order of coordinates along rows and columns, so the corners bound all of them. If
  // a corner overflows to NaN, there is no bound.
  bool reaches(int64_t instance, const MapRows& map) const {
    const auto to_input = p_.to_input<Compute>(instance);
    const auto right = Compute(p_.out_width - 1), bottom = Compute(p_.out_height - 1);
    const auto [first, last] = std::minmax(
        {to_input.y(0, 0), to_input.y(right, 0), to_input.y(0, bottom), to_input.y(right, bottom)});
    return !(first >= Compute(map.bottom)) && !(last < Compute(map.top) - 1);
  }

  const T* gradients(int64_t instance, int64_t row, int64_t channel) const {
    return static_cast<const T*>(p_.grad) + instance * p_.output_strides[0] + channel * p_.output_strides[1] +
           row * p_.output_strides[2];
  }

  template <int kBytes>
  void add_row(const RowTaps<Compute>& taps, const T* grad, int64_t channels) {
    read_slices<kBytes>(grad, channels, taps.begin, taps.end);
    Compute* sums = sums_.data();
    for (int64_t column = taps.begin; column < taps.end; ++column) {
      const Compute* slice = &slices_[column * kSlice];
      taps.visit(column, [&](int64_t offset, Compute weight) {
        // Otherwise an infinite gradient would become NaN here, but not on a GPU.
        if (weight == 0) [[unlikely]]
          return;
#pragma omp simd
        for (int c = 0; c < kSlice; ++c) sums[offset + c] += weight * slice[c];
      });
    }
  }

  template <int kBytes>
  void store_row(const Task& task, int64_t row, const Compute* sums) const {
    T* to = static_cast<T*>(p_.grad_input) + task.map * p_.input_strides[0] +
            task.channel * p_.input_strides[1] + row * p_.input_strides[2];
    write_slices<kBytes>(sums, task.channels, to);
  }

  template <int kBytes>
  void read_slices(const T* grad, int64_t channels, int64_t begin, int64_t end) {
    const int64_t to_plane = p_.output_strides[1], to_column = p_.output_strides[3];
    if (to_plane == 1) {
      // The hardware does not prefetch slices of pixels, between which the other channels are skipped.
      constexpr int64_t kAhead = 4, kLine = 64 / sizeof(T);
      for (int64_t column = begin; column < end; ++column) {
        const T* from = grad + column * to_column;
        const T* ahead = grad + std::min(column + kAhead, end - 1) * to_column;
        for (int64_t c = 0; c < channels; c += kLine) __builtin_prefetch(ahead + c);
        for (int64_t c = 0; c < channels; ++c) slices_[column * kSlice + c] = Compute(from[c]);
      }
      return;
    }
    for_each_square(begin, end, channels, [&](int64_t column, int64_t c, int64_t columns, int64_t some) {
      Lanes<Compute, kBytes> square[kLanes];
      read_square(grad + column * to_column + c * to_plane, {to_plane, to_column, some, columns}, square);
      for (int64_t i = 0; i < columns; ++i) square[i].write(&slices_[(column + i) * kSlice + c]);
    });
  }

  template <int kBytes>
  void write_slices(const Compute* sums, int64_t channels, T* to) const {
    const int64_t to_plane = p_.input_strides[1], to_column = p_.input_strides[3];
    if (to_plane == 1) {
      for (int64_t column = 0; column < p_.width; ++column)
        for (int64_t c = 0; c < channels; ++c) to[column * to_column + c] = T(sums[column * kSlice + c]);
      return;
    }
    for_each_square(0, p_.width, channels, [&](int64_t column, int64_t c, int64_t columns, int64_t some) {
      Lanes<Compute, kBytes> square[kLanes];
      for (int64_t i = 0; i < columns; ++i)
        square[i] = Lanes<Compute, kBytes>::read(sums + (column + i) * kSlice + c);
      write_square(square, {to_plane, to_column, some, columns}, to + column * to_column + c * to_plane);
    });
  }

  // Calls visit(column, channel, columns, channels) for the squares that cover a row of slices.
  template <class Visit>
  static void for_each_square(int64_t begin, int64_t end, int64_t channels, const Visit& visit) {
    for (int64_t column = begin; column < end; column += kLanes)
      for (int64_t c = 0; c < channels; c += kLanes)
        visit(column, c, std::min<int64_t>(kLanes, end - column), std::min<int64_t>(kLanes, channels - c));
  }

  const AffineAlignBackwardInputParams& p_;
  int64_t rows_;                 // rows of a band
  std::vector<Compute> sums_;    // (rows, width, slice)
  std::vector<Compute> slices_;  // (out_width, slice)
};

template <class T, int kSlice>
void run(const AffineAlignBackwardInputParams& p) {
  const InputGradient<T, kSlice> prepared(p);
  const Tasks tasks = prepared.tasks();
  // Bands are scheduled one by one, since instances cover only a part of the map and the other bands are
  // cheap.
  const int64_t workers = std::min(thread_count(), tasks.count());
  parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    auto gradient = prepared;
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t i = worker; i < tasks.count(); i += workers)
        with_wide_instructions([&](auto bytes) { gradient.template run<bytes>(tasks[i]); });
  });
}

}  // namespace

void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& p) {
  const bool channels_last = p.output_strides[1] == 1 && p.input_strides[1] == 1;
  const bool wide = channels_last && p.channels >= kWide;
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    wide ? run<T, kWide>(p) : run<T, kNarrow>(p);
  });
}

}  // namespace pose2seg
