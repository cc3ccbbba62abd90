#include "core/affine_align.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"

// Reads the four taps of every output pixel, writes each output once. Threads share out bands of rows of the
// windows, and where channels are planes these too. Where a band samples is worked out once for all channels
// of a task.

namespace pose2seg {
namespace {

// Planes that are sampled together: their rows stay in the first cache even where all share its sets.
constexpr int kPlanes = 4;

template <class T>
using Band = std::vector<RowTaps<accumulate_t<T>>>;

// The pixels of `Planes` planes in one row of a window. What the planes `ahead` have there is fetched into
// the second cache: a rotated window crosses the rows of the map in a way that the processor does not
// foresee.
template <int Planes, class T>
void store_planes(const RowTaps<accumulate_t<T>>& row, const AffineAlignParams& p, int64_t ahead,
                  const T* input, T* output) {
  using Compute = accumulate_t<T>;
  const int64_t from_plane = p.input_strides[1], to_plane = p.output_strides[1],
                to_column = p.output_strides[3];
  const auto store_other = [&](int64_t begin, int64_t end) {
    for (int64_t column = begin; column < end; ++column) {
      Compute sum[Planes] = {};
      row.visit(column, [&](int64_t offset, Compute weight) {
        for (int c = 0; c < Planes; ++c) sum[c] += weight * Compute(input[offset + c * from_plane]);
      });
      for (int c = 0; c < Planes; ++c) output[c * to_plane + column * to_column] = T(sum[c]);
    }
  };
  const auto store_inner = [&](auto column_stride) {
    for (int64_t column = row.inner_begin; column < row.inner_end; ++column) {
      const T* upper = input + row.offset[column];
      const T* lower = upper + row.map().row_stride;
      const Compute right = row.right[column], down = row.lower[column];
      const Compute weights[4] = {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right),
                                  down * right};
      for (int c = 0; c < Planes; ++c) {
        __builtin_prefetch(upper + c * from_plane + ahead, 0, 2);
        Compute sum = weights[0] * Compute(upper[c * from_plane]);
        sum += weights[1] * Compute(upper[c * from_plane + column_stride]);
        sum += weights[2] * Compute(lower[c * from_plane]);
        sum += weights[3] * Compute(lower[c * from_plane + column_stride]);
        output[c * to_plane + column * to_column] = T(sum);
      }
    }
  };
  store_other(0, row.inner_begin);
  if (row.map().column_stride == 1)
    store_inner(std::integral_constant<int64_t, 1>());
  else
    store_inner(row.map().column_stride);
  store_other(row.inner_end, p.out_width);
}

// The weighted sum of `Taps` pixels whose channels lie next to each other.
template <int Taps, class T, class Compute>
void store_sum(const T* const (&pixel)[4], const Compute (&weight)[4], T* __restrict to, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    Compute sum = 0;
    for (int k = 0; k < Taps; ++k) sum += weight[k] * Compute(pixel[k][c]);
    to[c] = T(sum);
  }
}

// All channels of one row of a window.
template <class T>
void store_channels_last(const RowTaps<accumulate_t<T>>& row, const AffineAlignParams& p, const T* input,
                         T* output) {
  for (int64_t column = 0; column < p.out_width; ++column) {
    const T* pixel[4];
    accumulate_t<T> weight[4];
    int taps = 0;
    row.visit(column, [&](int64_t offset, accumulate_t<T> by) {
      pixel[taps] = input + offset;
      weight[taps++] = by;
    });
    T* to = output + column * p.output_strides[3];
    switch (taps) {
      case 0: std::fill_n(to, p.channels, T(0)); break;
      case 1: store_sum<1>(pixel, weight, to, p.channels); break;
      case 2: store_sum<2>(pixel, weight, to, p.channels); break;
      default: store_sum<4>(pixel, weight, to, p.channels);
    }
  }
}

template <class T>
void sample(const AffineAlignParams& p, const Task& task, bool channels_last, Band<T>& band) {
  using Compute = accumulate_t<T>;
  const int64_t image = p.batch_index[task.map], rows = task.last - task.first;
  const bool is_there = image >= 0 && image < p.batch;
  const auto matrix = load_affine(static_cast<const Compute*>(p.matrices) + task.map * 6);
  const auto to_input = sampling_transform(matrix, p.convention, p.height, p.width);
  for (int64_t i = 0; i < rows; ++i)
    is_there ? band[i].find(affine_cast<Compute>(to_input), task.first + i) : band[i].clear();

  const T* input = static_cast<const T*>(p.input) + (is_there ? image * p.input_strides[0] : 0);
  T* output = static_cast<T*>(p.output) + task.map * p.output_strides[0] + task.first * p.output_strides[2];
  const auto for_each_row = [&](int64_t channel, const auto& store) {
    for (int64_t i = 0; i < rows; ++i)
      store(band[i], input + channel * p.input_strides[1],
            output + channel * p.output_strides[1] + i * p.output_strides[2]);
  };
  if (channels_last)
    return for_each_row(
        0, [&](const auto& row, const T* from, T* to) { store_channels_last(row, p, from, to); });
  int64_t channel = task.channel;
  const auto store = [&](auto planes) {
    const int64_t ahead = channel + 2 * planes <= p.channels ? planes * p.input_strides[1] : 0;
    for_each_row(channel, [&](const auto& row, const T* from, T* to) {
      store_planes<planes>(row, p, ahead, from, to);
    });
    channel += planes;
  };
  const int64_t end = task.channel + task.channels;
  while (channel + kPlanes <= end) store(std::integral_constant<int, kPlanes>());
  while (channel < end) store(std::integral_constant<int, 1>());
}

}  // namespace

void affine_align_cpu(const AffineAlignParams& p) {
  const bool channels_last = p.input_strides[1] == 1 && p.output_strides[1] == 1;
  const Tasks tasks = window_tasks(p.instances, p.out_height, p.out_width, p.channels, channels_last);
  const MapRows map = {0, p.height, p.width, p.input_strides[2], p.input_strides[3]};
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
      Band<T> band(tasks.rows_each, {map, p.out_width});
      for (int64_t i = begin; i < end; ++i)
        with_wide_instructions([&] { sample<T>(p, tasks[i], channels_last, band); });
    });
  });
}

}  // namespace pose2seg
