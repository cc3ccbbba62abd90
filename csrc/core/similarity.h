#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace pose2seg {

enum class FitScore { kOverlap, kNorm };

// A similarity transform [a b tx; -b a ty], without reflection.
struct Similarity {
  double a, b, tx, ty;

  HOST_DEVICE double scale() const { return std::sqrt(a * a + b * b); }
};

struct PoseFit {
  Similarity transform;  // pose frame -> the template's unit square
  double score;          // 0 if the template does not fit
};

// Fits the transform by least squares over the joints that the pose and the template share, and scores how
// well they then agree. A pose fits if it shares at least three joints with the template and has none that
// the template lacks.
template <class T>
HOST_DEVICE PoseFit fit_similarity(const T* pose, const T* target, int64_t joints, FitScore score) {
  double x = 0, y = 0, u = 0, v = 0;
  int common = 0, either = 0;
  for (int64_t k = 0; k < joints; ++k) {
    const bool seen = pose[3 * k + 2] > 0, known = target[3 * k + 2] > 0;
    if (seen && !known) return {};
    either += known;
    if (!seen) continue;
    ++common;
    x += pose[3 * k];
    y += pose[3 * k + 1];
    u += target[3 * k];
    v += target[3 * k + 1];
  }
  if (common < 3) return {};
  const double share = 1.0 / common;
  x *= share;
  y *= share;
  u *= share;
  v *= share;

  double spread = 0, dot = 0, cross = 0;
  for (int64_t k = 0; k < joints; ++k) {
    if (!(pose[3 * k + 2] > 0)) continue;
    const double px = pose[3 * k] - x, py = pose[3 * k + 1] - y;
    const double pu = target[3 * k] - u, pv = target[3 * k + 1] - v;
    spread += px * px + py * py;
    dot += px * pu + py * pv;
    cross += py * pu - px * pv;
  }
  // If all joints coincide, a and b are undetermined. The SVD of the original then returns the minimum-norm
  // solution.
  const double size = x * x + y * y;
  if (spread <= 1e-28 * common * size) {
    spread = size + 1;
    dot = x * u + y * v;
    cross = y * u - x * v;
  }
  const double per_spread = 1.0 / spread;
  const double a = dot * per_spread, b = cross * per_spread;
  const Similarity fit{a, b, u - a * x - b * y, v + b * x - a * y};

  double sum = 0;
  for (int64_t k = 0; k < joints; ++k) {
    if (!(pose[3 * k + 2] > 0)) continue;
    const double px = pose[3 * k] - x, py = pose[3 * k + 1] - y;
    const double ex = a * px + b * py - (target[3 * k] - u);
    const double ey = a * py - b * px - (target[3 * k + 1] - v);
    const double error2 = ex * ex + ey * ey;
    sum += score == FitScore::kOverlap ? std::exp(-error2 / 2) : error2;
  }
  return {fit, score == FitScore::kOverlap ? sum / either : std::exp(-std::sqrt(sum))};
}

}  // namespace pose2seg
