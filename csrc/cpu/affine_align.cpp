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
#include "cpu/transpose.h"
#include "cpu/window_slices.h"

// Reads the four taps of every output pixel and writes each output once. Threads divide the windows into
// bands of rows and, unless channels are adjacent in memory, also divide the planes. The sampling positions
// of a band are computed once for all channels of a task. Where it pays, the planes of a task are copied
// first, so that their values at a pixel are one vector.

namespace pose2seg {
namespace {

// The number of planes that are sampled together. Their rows stay in the L1 cache even if all of them map to
// the same sets.
constexpr int kPlanes = 4;

template <class T>
using Band = std::vector<RowTaps<accumulate_t<T>>>;

// Samples one row of a window in `Planes` planes, and prefetches the taps of the planes that are `ahead`
// elements further on into the L2 cache: the hardware prefetcher does not predict how a rotated window
// crosses the rows of the map.
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
      const auto weights = bilinear_weights(row.right[column], row.lower[column]);
      for (int c = 0; c < Planes; ++c) {
        __builtin_prefetch(upper + c * from_plane + ahead, 0, 2);
        Compute sum = weights.of[kUpperLeft] * Compute(upper[c * from_plane]);
        sum += weights.of[kUpperRight] * Compute(upper[c * from_plane + column_stride]);
        sum += weights.of[kLowerLeft] * Compute(lower[c * from_plane]);
        sum += weights.of[kLowerRight] * Compute(lower[c * from_plane + column_stride]);
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

// Computes the weighted sum of `Taps` pixels whose channels are adjacent in memory.
template <int Taps, class T, class Compute>
void store_sum(const T* const (&pixel)[kTaps], const Compute (&weight)[kTaps], T* __restrict to,
               int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    Compute sum = 0;
    for (int k = 0; k < Taps; ++k) sum += weight[k] * Compute(pixel[k][c]);
    to[c] = T(sum);
  }
}

// Samples all channels of one row of a window.
template <class T>
void store_channels_last(const RowTaps<accumulate_t<T>>& row, const AffineAlignParams& p, const T* input,
                         T* output) {
  for (int64_t column = 0; column < p.out_width; ++column) {
    const T* pixel[kTaps];
    accumulate_t<T> weight[kTaps];
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

// Samples up to kLanes planes of a window.
template <int kBytes, class T>
void sample_slice(const AffineAlignParams& p, const Task& task, WindowSlices<T>& slices) {
  using Compute = accumulate_t<T>;
  using Vector = Lanes<Compute, kBytes>;
  T* output = static_cast<T*>(p.output) + task.map * p.output_strides[0] + task.channel * p.output_strides[1];
  for (int64_t i = task.first; i < task.last; ++i) {
    const auto& row = slices.template find<kBytes>(task, i);
    for (int64_t first = 0; first < p.out_width; first += kLanes) {
      Vector square[kLanes];
      for (int64_t column = 0; column < kLanes; ++column) {  // beyond the last one there are no taps
        Vector sum = {};
        row.visit(first + column,
                  [&](int64_t offset, Compute weight) { sum += weight * Vector::read(slices.at(offset)); });
        square[column] = sum;
      }
      const SquareLayout layout = {p.output_strides[1], p.output_strides[3], task.channels,
                                   std::min<int64_t>(kLanes, p.out_width - first)};
      write_square(square, layout, output + i * p.output_strides[2] + first * p.output_strides[3]);
    }
  }
}

template <class T>
void sample(const AffineAlignParams& p, const Task& task, bool channels_last, Band<T>& band) {
  using Compute = accumulate_t<T>;
  const int64_t image = p.batch_index[task.map], rows = task.last - task.first;
  const bool is_there = p.has_image(image);
  const auto to_input = p.to_input<Compute>(task.map);
  for (int64_t i = 0; i < rows; ++i) is_there ? band[i].find(to_input, task.first + i) : band[i].clear();

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

template <class T>
void sample_all(const AffineAlignParams& p) {
  const bool channels_last = p.input_strides[1] == 1 && p.output_strides[1] == 1;
  const bool in_slices = !channels_last && WindowSlices<T>::pay(p);
  const Tasks tasks = window_tasks(p.instances, p.out_height, p.out_width, p.channels, channels_last);
  const MapRows map = {0, p.height, p.width, p.input_strides[2], p.input_strides[3]};
  const auto order = in_slices ? WindowSlices<T>::order(p) : std::vector<int64_t>();
  parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
    Band<T> band(tasks.rows_each, {map, p.out_width});
    WindowSlices<T> slices(p, p.input);
    for (int64_t i = begin; i < end; ++i) {
      Task task = tasks[i];
      if (in_slices) task.map = order[task.map];
      with_wide_instructions([&](auto bytes) {
        if (in_slices && slices.pay_for(task))
          sample_slice<bytes>(p, task, slices);
        else
          sample<T>(p, task, channels_last, band);
      });
    }
  });
}

}  // namespace

void affine_align_cpu(const AffineAlignParams& p) {
  dispatch_floating(p.dtype, [&](auto type) { sample_all<decltype(type)>(p); });
}

}  // namespace pose2seg
