#include <ATen/Parallel.h>

#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"

// Reads the four taps and the gradient of every output pixel. Threads share out the output rows; each row's
// sums, and then their sum over the rows, are made in one order whatever the number of threads.

namespace pose2seg {
namespace {

template <class T>
struct Row {
  using Compute = accumulate_t<T>;

  const AffineAlignBackwardMatricesParams& p;
  const T* input;
  const T* grad;
  const std::vector<BilinearTaps<Compute>>& taps;

  Gradient<Compute> at(int64_t channel, int64_t column) const {
    const BilinearTaps<Compute>& t = taps[column];
    const int64_t upper_left =
        channel * p.input_strides[1] + t.y * p.input_strides[2] + t.x * p.input_strides[3];
    const auto value = [&](bool present, int64_t offset) {
      return present ? Compute(input[upper_left + offset]) : 0;
    };
    const int64_t right = p.input_strides[3], lower = p.input_strides[2];
    const auto slope =
        t.gradient(value(t.has_upper && t.has_left, 0), value(t.has_upper && t.has_right, right),
                   value(t.has_lower && t.has_left, lower), value(t.has_lower && t.has_right, lower + right));
    const auto by = Compute(grad[channel * p.grad_strides[1] + column * p.grad_strides[3]]);
    return {by * slope.x, by * slope.y};
  }

  // The inner loop over channels that lie next to each other, free of conditions.
  Gradient<Compute> vector_at(int64_t column) const {
    const BilinearTaps<Compute>& t = taps[column];
    const T* upper_left = input + t.y * p.input_strides[2] + t.x * p.input_strides[3];
    const T* upper_right = upper_left + p.input_strides[3];
    const T* lower_left = upper_left + p.input_strides[2];
    const T* lower_right = lower_left + p.input_strides[3];
    const T* by = grad + column * p.grad_strides[3];
    // The sums of each tap times the gradient give both slopes.
    Compute ul = 0, ur = 0, ll = 0, lr = 0;
#pragma omp simd reduction(+ : ul, ur, ll, lr)
    for (int64_t c = 0; c < p.channels; ++c) {
      const auto g = Compute(by[c]);
      ul += g * Compute(upper_left[c]);
      ur += g * Compute(upper_right[c]);
      ll += g * Compute(lower_left[c]);
      lr += g * Compute(lower_right[c]);
    }
    return t.gradient(ul, ur, ll, lr);
  }
};

template <class T>
void find_taps(const AffineAlignBackwardMatricesParams& p, int64_t instance, int64_t row,
               std::vector<BilinearTaps<accumulate_t<T>>>& taps) {
  using Compute = accumulate_t<T>;
  const auto to_input = p.to_input<Compute>(instance);
  for (int64_t column = 0; column < p.out_width; ++column) {
    const Compute x = to_input.x(Compute(column), Compute(row));
    const Compute y = to_input.y(Compute(column), Compute(row));
    taps[column] = bilinear_taps(x, y, p.height, p.width);
  }
}

// The row's part of the gradient of the sampling transform.
template <class T>
Affine<double> row_gradient(const Row<T>& row, int64_t index,
                            std::vector<Gradient<accumulate_t<T>>>& pixels) {
  const AffineAlignBackwardMatricesParams& p = row.p;
  const bool channels_last = p.input_strides[1] == 1 && p.grad_strides[1] == 1;
  std::fill(pixels.begin(), pixels.end(), Gradient<accumulate_t<T>>{});
  for (int64_t column = 0; column < p.out_width; ++column)
    if (channels_last && row.taps[column].all()) pixels[column] = row.vector_at(column);
  for (int64_t channel = 0; channel < p.channels; ++channel)
    for (int64_t column = 0; column < p.out_width; ++column) {
      if (!row.taps[column].any() || (channels_last && row.taps[column].all())) continue;
      const auto at = row.at(channel, column);
      pixels[column].x += at.x;
      pixels[column].y += at.y;
    }
  Affine<double> sum = {};
  for (int64_t column = 0; column < p.out_width; ++column) {
    sum.c += pixels[column].x;
    sum.a += double(column) * pixels[column].x;
    sum.f += pixels[column].y;
    sum.d += double(column) * pixels[column].y;
  }
  sum.b = double(index) * sum.c;
  sum.e = double(index) * sum.f;
  return sum;
}

template <class T>
void sum_rows(const AffineAlignBackwardMatricesParams& p) {
  using Compute = accumulate_t<T>;
  at::parallel_for(0, p.instances * p.out_height, 1, [&](int64_t begin, int64_t end) {
    std::vector<BilinearTaps<Compute>> taps(p.out_width);
    std::vector<Gradient<Compute>> pixels(p.out_width);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t instance = i / p.out_height, row = i % p.out_height, image = p.batch_index[instance];
      p.parts[i] = {};
      if (image < 0 || image >= p.batch) continue;
      find_taps<T>(p, instance, row, taps);
      const T* input = static_cast<const T*>(p.input) + image * p.input_strides[0];
      const T* grad = static_cast<const T*>(p.grad) + instance * p.grad_strides[0] + row * p.grad_strides[2];
      p.parts[i] = row_gradient(Row<T>{p, input, grad, taps}, row, pixels);
    }
  });
}

}  // namespace

void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& p) {
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    sum_rows<T>(p);
    for (int64_t instance = 0; instance < p.instances; ++instance) {
      Affine<double> sum = {};
      for (int64_t row = 0; row < p.out_height; ++row) sum = sum + p.parts[instance * p.out_height + row];
      store_matrix_gradient<accumulate_t<T>>(p, instance, sum);
    }
  });
}

}  // namespace pose2seg
