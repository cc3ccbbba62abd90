#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"

// Reads every gradient of the output once for each band of the input that it has taps in, nearly always one,
// and writes each gradient of the input once. Threads share out bands of rows of the input, and in these
// slices of the channels. A task adds to sums of its own, in a fixed order: the instances' pixels one after
// the other.

namespace pose2seg {
namespace {

// Channels of a slice: one vector, or where it makes whole pieces of memory, several.
constexpr int kNarrow = 16, kWide = 64;

// The sums of a band, all told, so that they stay in the second cache.
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

  void run(const Task& task) {
    const MapRows map = {task.first, task.last, p_.width, p_.width * kSlice, kSlice};
    std::fill_n(sums_.begin(), map.offset(0, task.last), Compute(0));
    RowTaps<Compute> taps(map, p_.out_width);
    for (int64_t n = 0; n < p_.instances; ++n) {
      if (p_.batch_index[n] != task.map || !reaches(n, map)) continue;
      const auto to_input = p_.to_input<Compute>(n);
      for (int64_t row = 0; row < p_.out_height; ++row) {
        taps.find(to_input, row);
        add_row(taps, gradients(n, row, task.channel), task.channels);
      }
    }
    for (int64_t row = task.first; row < task.last; ++row) store_row(task, row, &sums_[map.offset(0, row)]);
  }

 private:
  // A power of two, so that floating-point numbers hold where the bands of any map begin.
  static int64_t band_rows(int64_t row_sums, int64_t height) {
    int64_t rows = 1;
    while (rows < height && 2 * rows * row_sums <= kBandSums) rows *= 2;
    return rows;
  }

  // Rounding keeps the order of coordinates along rows and columns, so that the corners bound them all. Where
  // they overflow to NaN there is no telling.
  bool reaches(int64_t instance, const MapRows& map) const {
    const auto to_input = p_.to_input<Compute>(instance);
    const auto right = Compute(p_.out_width - 1), bottom = Compute(p_.out_height - 1);
    const auto [first, last] = std::minmax(
        {to_input.y(0, 0), to_input.y(right, 0), to_input.y(0, bottom), to_input.y(right, bottom)});
    return !(first >= Compute(map.bottom)) && !(last < Compute(map.top) - 1);
  }

  const T* gradients(int64_t instance, int64_t row, int64_t channel) const {
    return static_cast<const T*>(p_.grad) + instance * p_.grad_strides[0] + channel * p_.grad_strides[1] +
           row * p_.grad_strides[2];
  }

  void add_row(const RowTaps<Compute>& taps, const T* grad, int64_t channels) {
    for_each_element(p_.grad_strides, taps.begin, taps.end, channels,
                     [&](int64_t place, int64_t stored) { slices_[place] = Compute(grad[stored]); });
    Compute* sums = sums_.data();
    for (int64_t column = taps.begin; column < taps.end; ++column) {
      const Compute* slice = &slices_[column * kSlice];
      taps.visit(column, [&](int64_t offset, Compute weight) {
        // Or an infinite gradient would be NaN here, and nothing on a GPU.
        if (weight == 0) [[unlikely]]
          return;
#pragma omp simd
        for (int c = 0; c < kSlice; ++c) sums[offset + c] += weight * slice[c];
      });
    }
  }

  void store_row(const Task& task, int64_t row, const Compute* sums) const {
    T* to = static_cast<T*>(p_.grad_input) + task.map * p_.grad_input_strides[0] +
            task.channel * p_.grad_input_strides[1] + row * p_.grad_input_strides[2];
    for_each_element(p_.grad_input_strides, 0, p_.width, task.channels,
                     [&](int64_t place, int64_t stored) { to[stored] = T(sums[place]); });
  }

  // visit(place among slices, offset in a tensor with these strides) in the order of the tensor's memory.
  template <class Visit>
  static void for_each_element(const int64_t (&strides)[4], int64_t begin, int64_t end, int64_t channels,
                               const Visit& visit) {
    if (strides[1] == 1) {
      for (int64_t column = begin; column < end; ++column)
        for (int64_t c = 0; c < channels; ++c) visit(column * kSlice + c, column * strides[3] + c);
    } else {
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t column = begin; column < end; ++column)
          visit(column * kSlice + c, column * strides[3] + c * strides[1]);
    }
  }

  const AffineAlignBackwardInputParams& p_;
  int64_t rows_;                 // of a band
  std::vector<Compute> sums_;    // (rows, width, slice)
  std::vector<Compute> slices_;  // (out_width, slice)
};

template <class T, int kSlice>
void run(const AffineAlignBackwardInputParams& p) {
  const InputGradient<T, kSlice> prepared(p);
  const Tasks tasks = prepared.tasks();
  // Dealt out one by one: instances cover a part of the map, and elsewhere there is little to do.
  const int64_t workers = std::min(thread_count(), tasks.count());
  parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    auto gradient = prepared;
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t i = worker; i < tasks.count(); i += workers)
        with_wide_instructions([&] { gradient.run(tasks[i]); });
  });
}

}  // namespace

void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& p) {
  const bool channels_last = p.grad_strides[1] == 1 && p.grad_input_strides[1] == 1;
  const bool wide = channels_last && p.channels >= kWide;
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    wide ? run<T, kWide>(p) : run<T, kNarrow>(p);
  });
}

}  // namespace pose2seg
