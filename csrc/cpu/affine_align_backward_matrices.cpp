#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"

// Reads the four taps and the gradient of every output pixel, once. Threads share out bands of rows of the
// windows, and where channels are planes these too. Within a task and then over the tasks, sums are made in
// one order whatever the number of threads.

namespace pose2seg {
namespace {

// As in affine_align.cpp.
constexpr int kPlanes = 4;

// Sums over channels that lie next to each other are made in so many lanes, for any instruction set.
constexpr int kLanes = 16;

template <class T>
class MatrixGradient {
  using Compute = accumulate_t<T>;

 public:
  MatrixGradient(const AffineAlignBackwardMatricesParams& params, int64_t rows, bool channels_last)
      : p_(params),
        channels_last_(channels_last),
        band_(rows, {{0, p_.height, p_.width, p_.input_strides[2], p_.input_strides[3]}, p_.out_width}),
        pixels_(rows, std::vector<Vector2<Compute>>(p_.out_width)),
        columns_(p_.out_width),
        columns_by_row_(p_.out_width) {}

  // The task's part of the gradient of the sampling transform.
  Affine<double> run(const Task& task) {
    const int64_t image = p_.batch_index[task.map], rows = task.last - task.first;
    if (image < 0 || image >= p_.batch) return {};
    for (int64_t i = 0; i < rows; ++i) {
      band_[i].find(p_.to_input<Compute>(task.map), task.first + i);
      std::fill(pixels_[i].begin(), pixels_[i].end(), Vector2<Compute>{});
    }
    input_ = static_cast<const T*>(p_.input) + image * p_.input_strides[0];
    grad_ = static_cast<const T*>(p_.grad) + task.map * p_.grad_strides[0] + task.first * p_.grad_strides[2];
    int64_t channel = task.channel;
    const int64_t end = task.channel + task.channels;
    if (channels_last_) {
      for (int64_t i = 0; i < rows; ++i) add_channels_last(i);
      channel = end;
    }
    for (; channel + kPlanes <= end; channel += kPlanes)
      for (int64_t i = 0; i < rows; ++i) add_planes<kPlanes>(i, channel);
    for (; channel < end; ++channel)
      for (int64_t i = 0; i < rows; ++i) add_planes<1>(i, channel);
    return sum_of_pixels(task);
  }

 private:
  // Of one pixel and channel, where taps may be absent.
  void add_at(int64_t i, int64_t column, int64_t channel) {
    const auto taps = band_[i].taps(column);
    const T* input = input_ + channel * p_.input_strides[1];
    const auto value = [&](bool present, int64_t x, int64_t y) {
      return present ? Compute(input[band_[i].map().offset(x, y)]) : 0;
    };
    const int64_t x = taps.x, y = taps.y;
    const auto slope = taps.gradient(value(taps.has_upper && taps.has_left, x, y),
                                     value(taps.has_upper && taps.has_right, x + 1, y),
                                     value(taps.has_lower && taps.has_left, x, y + 1),
                                     value(taps.has_lower && taps.has_right, x + 1, y + 1));
    const auto by =
        Compute(grad_[i * p_.grad_strides[2] + channel * p_.grad_strides[1] + column * p_.grad_strides[3]]);
    pixels_[i][column] += {by * slope.x, by * slope.y};
  }

  // visit(column) for the columns of a row that have some taps, but not all.
  template <class Visit>
  static void for_each_edge(const RowTaps<Compute>& row, const Visit& visit) {
    for (int64_t column = row.begin; column < row.inner_begin; ++column) visit(column);
    for (int64_t column = row.inner_end; column < row.end; ++column) visit(column);
  }

  // How the sums of each tap times the gradient, over some channels, move the pixel.
  static Vector2<Compute> slope(const RowTaps<Compute>& row, int64_t column, Compute upper_left,
                                Compute upper_right, Compute lower_left, Compute lower_right) {
    const BilinearTaps<Compute> taps = {0, 0, row.right[column], row.lower[column], true, true, true, true};
    return taps.gradient(upper_left, upper_right, lower_left, lower_right);
  }

  template <int Planes>
  void add_planes(int64_t i, int64_t channel) {
    const RowTaps<Compute>& row = band_[i];
    for_each_edge(row, [&](int64_t column) {
      for (int c = 0; c < Planes; ++c) add_at(i, column, channel + c);
    });
    const int64_t right = p_.input_strides[3], plane = p_.input_strides[1], grad_plane = p_.grad_strides[1];
    const T* input = input_ + channel * plane;
    const T* grad = grad_ + i * p_.grad_strides[2] + channel * grad_plane;
    for (int64_t column = row.inner_begin; column < row.inner_end; ++column) {
      const T* upper = input + row.offset[column];
      const T* lower = upper + p_.input_strides[2];
      Compute ul = 0, ur = 0, ll = 0, lr = 0;
      for (int c = 0; c < Planes; ++c) {
        const auto by = Compute(grad[c * grad_plane + column * p_.grad_strides[3]]);
        ul += by * Compute(upper[c * plane]);
        ur += by * Compute(upper[c * plane + right]);
        ll += by * Compute(lower[c * plane]);
        lr += by * Compute(lower[c * plane + right]);
      }
      pixels_[i][column] += slope(row, column, ul, ur, ll, lr);
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
      const T* grad = grad_ + i * p_.grad_strides[2] + column * p_.grad_strides[3];
      const T* taps[4] = {upper, upper + p_.input_strides[3], lower, lower + p_.input_strides[3]};
      Compute sums[4];
      sum_products(grad, taps, p_.channels, sums);
      pixels_[i][column] = slope(row, column, sums[0], sums[1], sums[2], sums[3]);
    }
  }

  static void sum_products(const T* grad, const T* const (&taps)[4], int64_t channels, Compute (&sums)[4]) {
    Compute lanes[4][kLanes] = {};
    int64_t channel = 0;
    for (; channel + kLanes <= channels; channel += kLanes)
      for (int k = 0; k < 4; ++k)
#pragma omp simd
        for (int l = 0; l < kLanes; ++l)
          lanes[k][l] += Compute(grad[channel + l]) * Compute(taps[k][channel + l]);
    for (int64_t l = 0; channel + l < channels; ++l)
      for (int k = 0; k < 4; ++k) lanes[k][l] += Compute(grad[channel + l]) * Compute(taps[k][channel + l]);
    for (int k = 0; k < 4; ++k) {
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
  const bool channels_last_;
  const T *input_ = nullptr, *grad_ = nullptr;  // of the task's image and first row
  std::vector<RowTaps<Compute>> band_;
  std::vector<std::vector<Vector2<Compute>>> pixels_;      // of the band, summed over channels
  std::vector<Vector2<double>> columns_, columns_by_row_;  // summed over rows; and times the row
};

}  // namespace

void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& p) {
  const bool channels_last = p.input_strides[1] == 1 && p.grad_strides[1] == 1;
  const Tasks tasks = window_tasks(p.instances, p.out_height, p.out_width, p.channels, channels_last);
  std::vector<Affine<double>> parts(tasks.count());
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
      MatrixGradient<T> gradient(p, tasks.rows_each, channels_last);
      for (int64_t i = begin; i < end; ++i)
        with_wide_instructions([&] { parts[i] = gradient.run(tasks[i]); });
    });
    std::vector<Affine<double>> sums(p.instances, Affine<double>{});
    for (int64_t i = 0; i < tasks.count(); ++i) sums[tasks[i].map] = sums[tasks[i].map] + parts[i];
    for (int64_t n = 0; n < p.instances; ++n) store_matrix_gradient<accumulate_t<T>>(p, n, sums[n]);
  });
}

}  // namespace pose2seg
