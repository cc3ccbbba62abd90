#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "core/bilinear.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"
#include "cpu/transpose.h"
#include "cpu/window_slices.h"

// Reads the four taps and the gradient of every output pixel once. Threads divide the windows into bands of
// rows and, unless channels are adjacent in memory, also divide the planes. The sums within a task, and over
// the tasks, have the same order for any number of threads.

namespace pose2seg {
namespace {

// See affine_align.cpp.
constexpr int kPlanes = 4;

template <class T>
class MatrixGradient {
  using Compute = accumulate_t<T>;

 public:
  MatrixGradient(const AffineAlignBackwardMatricesParams& params, int64_t rows, bool channels_last)
      : p_(params),
        channels_last_(channels_last),
        in_slices_(!channels_last && WindowSlices<T>::pay(params)),
        slices_(params, params.input),
        band_(rows, {{0, p_.height, p_.width, p_.input_strides[2], p_.input_strides[3]}, p_.out_width}),
        pixels_(rows, std::vector<Vector2<Compute>>(p_.out_width)),
        columns_(p_.out_width),
        columns_by_row_(p_.out_width) {}

  // Computes the contribution of a task to the gradient of the sampling transform.
  template <int kBytes>
  Affine<double> run(const Task& task) {
    const int64_t image = p_.batch_index[task.map], rows = task.last - task.first;
    if (!p_.has_image(image)) return {};
    for (int64_t i = 0; i < rows; ++i) {
      band_[i].find(p_.to_input<Compute>(task.map), task.first + i);
      std::fill(pixels_[i].begin(), pixels_[i].end(), Vector2<Compute>{});
    }
    input_ = static_cast<const T*>(p_.input) + image * p_.input_strides[0];
    grad_ =
        static_cast<const T*>(p_.grad) + task.map * p_.output_strides[0] + task.first * p_.output_strides[2];
    int64_t channel = task.channel;
    const int64_t end = task.channel + task.channels;
    if (channels_last_) {
      for (int64_t i = 0; i < rows; ++i) add_channels_last(i);
      channel = end;
    } else if (in_slices_ && slices_.pay_for(task)) {
      for (int64_t i = 0; i < rows; ++i) add_slice<kBytes>(i, task);
      channel = end;
    }
    for (; channel + kPlanes <= end; channel += kPlanes)
      for (int64_t i = 0; i < rows; ++i) add_planes<kPlanes>(i, channel);
    for (; channel < end; ++channel)
      for (int64_t i = 0; i < rows; ++i) add_planes<1>(i, channel);
    return sum_of_pixels(task);
  }

 private:
  // The gradient of one pixel and channel, some of whose taps may be absent.
  void add_at(int64_t i, int64_t column, int64_t channel) {
    const auto taps = band_[i].taps(column);
    const T* input = input_ + channel * p_.input_strides[1];
    Compute values[kTaps];
    for (int tap = 0; tap < kTaps; ++tap)
      values[tap] =
          taps.has(tap) ? Compute(input[band_[i].map().offset(taps.x + tap % 2, taps.y + tap / 2)]) : 0;
    const auto slope = bilinear_slope(taps.right, taps.lower, values);
    const auto by = Compute(
        grad_[i * p_.output_strides[2] + channel * p_.output_strides[1] + column * p_.output_strides[3]]);
    pixels_[i][column] += {by * slope.x, by * slope.y};
  }

  // Calls visit(column) for the columns of a row that have some, but not all, taps.
  template <class Visit>
  static void for_each_edge(const RowTaps<Compute>& row, const Visit& visit) {
    for (int64_t column = row.begin; column < row.inner_begin; ++column) visit(column);
    for (int64_t column = row.inner_end; column < row.end; ++column) visit(column);
  }

  template <int Planes>
  void add_planes(int64_t i, int64_t channel) {
    const RowTaps<Compute>& row = band_[i];
    for_each_edge(row, [&](int64_t column) {
      for (int c = 0; c < Planes; ++c) add_at(i, column, channel + c);
    });
    const int64_t right = p_.input_strides[3], plane = p_.input_strides[1], grad_plane = p_.output_strides[1];
    const T* input = input_ + channel * plane;
    const T* grad = grad_ + i * p_.output_strides[2] + channel * grad_plane;
    for (int64_t column = row.inner_begin; column < row.inner_end; ++column) {
      const T* upper = input + row.offset[column];
      const T* lower = upper + p_.input_strides[2];
      Compute upper_left = 0, upper_right = 0, lower_left = 0, lower_right = 0;
      for (int c = 0; c < Planes; ++c) {
        const auto by = Compute(grad[c * grad_plane + column * p_.output_strides[3]]);
        upper_left += by * Compute(upper[c * plane]);
        upper_right += by * Compute(upper[c * plane + right]);
        lower_left += by * Compute(lower[c * plane]);
        lower_right += by * Compute(lower[c * plane + right]);
      }
      pixels_[i][column] += bilinear_slope(row.right[column], row.lower[column],
                                           {upper_left, upper_right, lower_left, lower_right});
    }
  }

  // The channels of a task; the sum over them is one of transposed squares.
  template <int kBytes>
  void add_slice(int64_t i, const Task& task) {
    using Vector = Lanes<Compute, kBytes>;
    const RowTaps<Compute>& row = slices_.template find<kBytes>(task, task.first + i);
    for_each_edge(row, [&](int64_t column) {
      for (int64_t c = 0; c < task.channels; ++c) add_at(i, column, task.channel + c);
    });
    const int64_t to_plane = p_.output_strides[1], to_column = p_.output_strides[3];
    const T* grad = grad_ + i * p_.output_strides[2] + task.channel * to_plane;
    for (int64_t first = row.inner_begin; first < row.inner_end; first += kLanes) {
      const int64_t columns = std::min<int64_t>(kLanes, row.inner_end - first);
      Vector by[kLanes], x[kLanes], y[kLanes];
      read_square(grad + first * to_column, {to_plane, to_column, task.channels, columns}, by);
      for (int64_t k = 0; k < columns; ++k) {
        const int64_t upper = row.offset[first + k], lower = upper + row.map().row_stride;
        const Vector values[kTaps] = {
            Vector::read(slices_.at(upper)), Vector::read(slices_.at(upper + kLanes)),
            Vector::read(slices_.at(lower)), Vector::read(slices_.at(lower + kLanes))};
        bilinear_slope(row.right[first + k], row.lower[first + k], values, x[k], y[k]);
        x[k] *= by[k];
        y[k] *= by[k];
      }
      transpose(x);
      transpose(y);
      Vector sum_x = x[0], sum_y = y[0];
      for (int c = 1; c < kLanes; ++c) {
        sum_x += x[c];
        sum_y += y[c];
      }
      for (int64_t k = 0; k < columns; ++k) pixels_[i][first + k] += {sum_x[k], sum_y[k]};
    }
  }

  void add_channels_last(int64_t i) {
    const RowTaps<Compute>& row = band_[i];
    for_each_edge(row, [&](int64_t column) {
      for (int64_t channel = 0; channel < p_.channels; ++channel) add_at(i, column, channel);
    });
    for (int64_t column = row.inner_begin; column < row.inner_end; ++column) {
      const T* upper = input_ + row.offset[column];
      const T* lower = upper + p_.input_strides[2];
      const T* grad = grad_ + i * p_.output_strides[2] + column * p_.output_strides[3];
      const T* taps[kTaps] = {upper, upper + p_.input_strides[3], lower, lower + p_.input_strides[3]};
      Compute sums[kTaps];
      sum_products(grad, taps, p_.channels, sums);
      pixels_[i][column] = bilinear_slope(row.right[column], row.lower[column], sums);
    }
  }

  // Sums products in kLanes lanes with every instruction set, so that the results agree.
  static void sum_products(const T* grad, const T* const (&taps)[kTaps], int64_t channels,
                           Compute (&sums)[kTaps]) {
    Compute lanes[kTaps][kLanes] = {};
    int64_t channel = 0;
    for (; channel + kLanes <= channels; channel += kLanes)
      for (int k = 0; k < kTaps; ++k)
#pragma omp simd
        for (int l = 0; l < kLanes; ++l)
          lanes[k][l] += Compute(grad[channel + l]) * Compute(taps[k][channel + l]);
    for (int64_t l = 0; channel + l < channels; ++l)
      for (int k = 0; k < kTaps; ++k)
        lanes[k][l] += Compute(grad[channel + l]) * Compute(taps[k][channel + l]);
    for (int k = 0; k < kTaps; ++k) {
      for (int half = kLanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) lanes[k][l] += lanes[k][l + half];
      sums[k] = lanes[k][0];
    }
  }

  Affine<double> sum_of_pixels(const Task& task) {
    std::fill(columns_.begin(), columns_.end(), Vector2<double>{});
    std::fill(columns_by_row_.begin(), columns_by_row_.end(), Vector2<double>{});
    for (int64_t row = task.first; row < task.last; ++row)
      for (int64_t column = 0; column < p_.out_width; ++column) {
        const auto& pixel = pixels_[row - task.first][column];
        columns_[column] += {pixel.x, pixel.y};
        columns_by_row_[column] += {double(row) * pixel.x, double(row) * pixel.y};
      }
    Affine<double> sum = {};
    for (int64_t column = 0; column < p_.out_width; ++column) {
      const auto &all = columns_[column], &by_row = columns_by_row_[column];
      sum = sum +
            Affine<double>{double(column) * all.x, by_row.x, all.x, double(column) * all.y, by_row.y, all.y};
    }
    return sum;
  }

  const AffineAlignBackwardMatricesParams& p_;
  const bool channels_last_, in_slices_;
  const T *input_ = nullptr, *grad_ = nullptr;  // at the image and the first row of the task
  WindowSlices<T> slices_;
  std::vector<RowTaps<Compute>> band_;
  std::vector<std::vector<Vector2<Compute>>> pixels_;      // pixels of the band, summed over channels
  std::vector<Vector2<double>> columns_, columns_by_row_;  // summed over rows, and weighted by the row
};

}  // namespace

void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& p) {
  const bool channels_last = p.input_strides[1] == 1 && p.output_strides[1] == 1;
  const Tasks tasks = window_tasks(p.instances, p.out_height, p.out_width, p.channels, channels_last);
  std::vector<Affine<double>> parts(tasks.count());
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    const auto order = WindowSlices<T>::order(p);
    const auto task = [&](int64_t i) {
      Task task = tasks[i];
      task.map = order[task.map];
      return task;
    };
    parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
      MatrixGradient<T> gradient(p, tasks.rows_each, channels_last);
      for (int64_t i = begin; i < end; ++i)
        with_wide_instructions([&](auto bytes) { parts[i] = gradient.template run<bytes>(task(i)); });
    });
    std::vector<Affine<double>> sums(p.instances, Affine<double>{});
    for (int64_t i = 0; i < tasks.count(); ++i) sums[task(i).map] = sums[task(i).map] + parts[i];
    for (int64_t n = 0; n < p.instances; ++n) store_matrix_gradient<accumulate_t<T>>(p, n, sums[n]);
  });
}

}  // namespace pose2seg
