#pragma once

#include <cmath>
#include <cstdint>

#include "core/affine_windows.h"
#include "core/axis_taps.h"
#include "core/projective.h"
#include "core/sampling.h"

struct CUstream_st;

namespace pose2seg {

// The parameters of sampling in modes other than the plain one, and of its gradients. The matrices are
// (instances, 2, 3) or (instances, 3, 3).
struct SampledWindows : AffineWindows {
  Sampling sampling;
  bool is_projective;  // whether matrices have three rows

  // Returns a matrix that maps output to input as a projective transform, before the convention applies.
  template <class T>
  HOST_DEVICE Projective<double> output_to_input(int64_t instance) const {
    const auto m = load_projective(static_cast<const T*>(matrices) + instance * 9);
    return convention == Convention::kInverse ? m : inverse(m);
  }

  HOST_DEVICE double w_at_centre(const Projective<double>& m) const {
    return m.w(0.5 * double(out_width - 1), 0.5 * double(out_height - 1));
  }

  // Returns the transform from output pixels to homogeneous coordinates of the input, whose third coordinate
  // is 1 at the centre of the window: it is positive on the centre's side of the horizon.
  template <class T>
  HOST_DEVICE Projective<double> sampling_transform(int64_t instance) const {
    if (!is_projective) return as_projective(AffineWindows::to_input_in_double<T>(instance));
    const auto [left, right] = convention_factors(convention, height, width);
    const auto m = left * output_to_input<T>(instance) * right;
    return scaled<double>(m, 1 / w_at_centre(m));
  }
};

// Where a window samples the input.
template <class T>
struct WindowSampler {
  Projective<T> to_input;
  bool is_projective, samples_nothing;
  Padding padding;
  int64_t height, width;
  int64_t across, down;  // samples of an output pixel
  T share;               // the weight of a sample in their average

  // The position of a sample in the output, and in the input if `is_there`. A sample behind the horizon of a
  // projective map, or too far outside of the input for RoIAlign, is not there.
  struct Sample {
    T column, row, x, y, w;
    bool is_there;
  };

  HOST_DEVICE Sample sample(T column, T row) const {
    Sample s = {column, row, to_input.x(column, row), to_input.y(column, row), 1, true};
    if (is_projective) {
      s.w = to_input.w(column, row);
      s.is_there = s.w > 0;
      s.x /= s.w;
      s.y /= s.w;
    }
    if (padding == Padding::kRoIAlign)
      s.is_there = s.is_there && s.x >= -1 && s.x <= T(width) && s.y >= -1 && s.y <= T(height);
    return s;
  }

  // Calls visit(sample) for each sample of an output pixel whose `is_there` is true.
  template <class Visit>
  HOST_DEVICE void visit(int64_t column, int64_t row, const Visit& visit) const {
    if (samples_nothing) return;
    for (int64_t v = 0; v < down; ++v)
      for (int64_t u = 0; u < across; ++u) {
        const auto at = sample(T(column) + position(u, across), T(row) + position(v, down));
        if (at.is_there) visit(at);
      }
  }

  // Calls visit(column, row, weight) for the taps of a sample that are present. The weights are those in the
  // average of the samples.
  template <int kTaps, class Visit>
  HOST_DEVICE void visit_taps(const Sample& at, const Visit& visit) const {
    const auto columns = axis_taps<kTaps>(at.x, width, padding),
               rows = axis_taps<kTaps>(at.y, height, padding);
    T x[kTaps], y[kTaps];
    tap_weights(columns.t, x);
    tap_weights(rows.t, y);
    UNROLL
    for (int i = 0; i < kTaps; ++i) {
      UNROLL
      for (int j = 0; j < kTaps; ++j)
        if (rows.at[i] >= 0 && columns.at[j] >= 0) visit(columns.at[j], rows.at[i], y[i] * x[j] * share);
    }
  }

  // Calls visit(column, row, along x, along y) for the same taps, with the derivatives of their weights with
  // respect to the position.
  template <int kTaps, class Visit>
  HOST_DEVICE void visit_slopes(const Sample& at, const Visit& visit) const {
    const auto columns = axis_taps<kTaps>(at.x, width, padding),
               rows = axis_taps<kTaps>(at.y, height, padding);
    T x[kTaps], y[kTaps], x_slope[kTaps], y_slope[kTaps];
    tap_weights(columns.t, x);
    tap_weights(rows.t, y);
    tap_slopes(columns.t, x_slope);
    tap_slopes(rows.t, y_slope);
    UNROLL
    for (int i = 0; i < kTaps; ++i) {
      UNROLL
      for (int j = 0; j < kTaps; ++j)
        if (rows.at[i] >= 0 && columns.at[j] >= 0)
          visit(columns.at[j], rows.at[i], y[i] * x_slope[j] * share, y_slope[i] * x[j] * share);
    }
  }

  // Whether columns of the output are sampled at columns of the input, and rows at rows.
  HOST_DEVICE bool is_separable() const {
    return !samples_nothing && !is_projective && to_input.b == 0 && to_input.d == 0;
  }

  // The position of sample `i` of `count` in a pixel, whose centre is 0.
  static HOST_DEVICE T position(int64_t i, int64_t count) { return (T(i) + T(0.5)) / T(count) - T(0.5); }
};

// The number of samples that are at most one pixel of the input apart, if each step on the output is (x, y)
// on the input. It is limited where more samples would not help.
HOST_DEVICE int64_t adaptive_samples(double x, double y, int64_t height, int64_t width) {
  const bool is_along_axis = x == 0 || y == 0;
  const double most = is_along_axis ? 4 * double(height > width ? height : width) : double(kMaxSamplingRatio);
  // A step along an axis is exact. Any other is a little shorter, so that rounding does not add a sample.
  const double needed = std::ceil(is_along_axis ? std::fabs(x + y) : std::hypot(x, y) * (1 - 0x1p-20));
  return int64_t(needed >= 1 ? (needed < most ? needed : most) : 1.0);
}

// T is the element type of the matrices.
template <class T>
HOST_DEVICE WindowSampler<T> window_sampler(const SampledWindows& p, int64_t instance) {
  const auto m = p.sampling_transform<T>(instance);
  WindowSampler<T> sampler = {scaled<T>(m, 1.0),  p.is_projective,  false,
                              p.sampling.padding, p.height,         p.width,
                              p.sampling.ratio,   p.sampling.ratio, 1};
  sampler.samples_nothing = !is_finite(sampler.to_input) || !p.has_image(p.batch_index[instance]);
  if (p.sampling.ratio == 0) {
    // The steps at the centre of the window, where w is 1.
    const double column = 0.5 * double(p.out_width - 1), row = 0.5 * double(p.out_height - 1);
    const double x = m.x(column, row), y = m.y(column, row);
    sampler.across = adaptive_samples(m.a - x * m.g, m.d - y * m.g, p.height, p.width);
    sampler.down = adaptive_samples(m.b - x * m.h, m.e - y * m.h, p.height, p.width);
  }
  sampler.share = T(1) / T(sampler.across * sampler.down);
  return sampler;
}

// The gradient of a sampling transform, from those of the sampled positions.
template <class T>
HOST_DEVICE void add_position_gradient(const typename WindowSampler<T>::Sample& at, T x, T y,
                                       Projective<double>& sum) {
  const double gx = double(x / at.w), gy = double(y / at.w), gw = -(gx * double(at.x) + gy * double(at.y));
  const double column = double(at.column), row = double(at.row);
  sum = sum +
        Projective<double>{gx * column, gx * row, gx, gy * column, gy * row, gy, gw * column, gw * row, gw};
}

struct SampleWindowsParams : SampledWindows {
  const void* input;  // (batch, channels, height, width)
  void* output;       // (instances, channels, out_height, out_width)
};

struct SampleWindowsBackwardInputParams : SampledWindows {
  const void* grad;  // (instances, channels, out_height, out_width)
  void* grad_input;  // (batch, channels, height, width), contiguous or channels_last

  // Scratch memory that the first CUDA pass writes and the second reads.
  void* samplers;  // (instances,) WindowSampler
};

struct SampleWindowsBackwardMatricesParams : SampledWindows {
  const void* grad;     // (instances, channels, out_height, out_width)
  const void* input;    // (batch, channels, height, width)
  void* grad_matrices;  // (instances, 2 or 3, 3) contiguous

  // Scratch memory that the first CUDA pass writes and the second reads.
  Projective<double>* parts;  // (instances, tiles), as in AffineAlignBackwardMatricesParams
};

// Computes dL/d(matrix) of an instance from dL/d(sampling transform).
template <class T>
HOST_DEVICE void store_matrix_gradient(const SampleWindowsBackwardMatricesParams& p, int64_t instance,
                                       const Projective<double>& grad) {
  if (!p.is_projective) {
    const Affine<double> m = sampling_transform_gradient(
        p.matrix<T>(instance), Affine<double>{grad.a, grad.b, grad.c, grad.d, grad.e, grad.f}, p.convention,
        p.height, p.width);
    return store_affine(m, static_cast<T*>(p.grad_matrices) + instance * 6);
  }
  // The sampling transform is left * K * right, divided by its w at the centre of the window. No factor
  // changes what is sampled, so the derivative of the divisor does not count.
  T* to = static_cast<T*>(p.grad_matrices) + instance * 9;
  const auto k = p.output_to_input<T>(instance);
  const auto [left, right] = convention_factors(p.convention, p.height, p.width);
  const auto of_k =
      scaled<double>(transposed(left) * grad * transposed(right), 1 / p.w_at_centre(left * k * right));
  if (!is_finite(k) || !is_finite(of_k)) return store_projective(Projective<double>{}, to);
  if (p.convention == Convention::kInverse) return store_projective(of_k, to);
  store_projective(scaled<double>(transposed(k) * of_k * transposed(k), -1.0),
                   to);  // d(m^-1) = -m^-1 dm m^-1
}

void sample_windows_cpu(const SampleWindowsParams& params);
void sample_windows_cuda(const SampleWindowsParams& params, CUstream_st* stream);
void sample_windows_backward_input_cpu(const SampleWindowsBackwardInputParams& params);
void sample_windows_backward_input_cuda(const SampleWindowsBackwardInputParams& params, CUstream_st* stream);
void sample_windows_backward_matrices_cpu(const SampleWindowsBackwardMatricesParams& params);
void sample_windows_backward_matrices_cuda(const SampleWindowsBackwardMatricesParams& params,
                                           CUstream_st* stream);

}  // namespace pose2seg
