#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "core/fit_pose_templates.h"
#include "cpu/instruction_set.h"

namespace pose2seg {

// Upper bounds on the scores of all templates for a pose, computed at once and without exponentials. Only
// templates whose bound allows them to be the best need to be fitted.
//
// With e_k the squared errors of n joints and E their least possible sum, which has a closed form:
//   sum_k exp(-e_k / 2) <= n - 1 + exp(-E / 2) <= n - E / 2 + E^2 / 8,   and
//   exp(-sqrt(E)) <= 1 / (1 + sqrt(E) + E / 2).
class TemplateBounds {
 public:
  template <class T>
  static TemplateBounds of(const FitPoseTemplatesParams& params) {
    TemplateBounds bounds(params.template_count, params.joints, params.score_kind);
    const T* value = static_cast<const T*>(params.templates);
    for (int64_t i = 0; i < bounds.count_; ++i)
      for (int64_t k = 0; k < bounds.joints_; ++k, value += 3) {
        const bool known = value[2] > 0;
        bounds.u_[k * bounds.count_ + i] = known ? double(value[0]) : 0;
        bounds.v_[k * bounds.count_ + i] = known ? double(value[1]) : 0;
        bounds.unknown_[k * bounds.count_ + i] = !known;
        bounds.known_[i] += known;
      }
    return bounds;
  }

  // The bound of a template that lacks a joint of the pose is 0. If no bound can be given, it is infinite.
  template <class T>
  const std::vector<double>& operator()(const T* pose) {
    double x = 0, y = 0, spread = 0;
    seen_.clear();
    for (int64_t k = 0; k < joints_; ++k) {
      if (!(pose[3 * k + 2] > 0)) continue;
      seen_.push_back({k * count_, double(pose[3 * k]), double(pose[3 * k + 1])});
      x += seen_.back().x;
      y += seen_.back().y;
    }
    const double share = 1.0 / static_cast<double>(seen_.size());
    for (Seen& joint : seen_) {
      joint.x -= x * share;
      joint.y -= y * share;
      spread += joint.x * joint.x + joint.y * joint.y;
    }
    // Squares outside of these limits have lost precision or have no inverse.
    if (!(spread > 1e-200 && spread < 1e200)) {
      std::fill(bounds_.begin(), bounds_.end(), std::numeric_limits<double>::infinity());
    } else {
      with_wide_instructions([&](auto) {
        for (int64_t first = 0; first < count_; first += kLanes)
          bound(first, std::min(kLanes, count_ - first), spread);
      });
    }
    return bounds_;
  }

 private:
  struct Seen {
    int64_t offset;  // of the joint in the templates
    double x, y;     // relative to the mean of the visible joints
  };

  static constexpr int64_t kLanes = 8;
  static constexpr double kRounding = 1e-12;

  TemplateBounds(int64_t count, int64_t joints, FitScore score)
      : count_(count),
        joints_(joints),
        score_(score),
        u_(joints * count + kLanes),
        v_(u_),
        unknown_(u_),
        known_(count + kLanes),
        bounds_(count) {}

  // Processes kLanes templates, some of which may be padding.
  void bound(int64_t first, int64_t templates, double spread) {
    const auto each = [](const auto& body) {
      for (int64_t i = 0; i < kLanes; ++i) body(i);
    };
    const auto n = static_cast<double>(seen_.size());
    double u[kLanes] = {}, v[kLanes] = {}, lacking[kLanes] = {};
    for (const Seen& joint : seen_)
      each([&, at = joint.offset + first](int64_t i) {
        u[i] += u_[at + i];
        v[i] += v_[at + i];
        lacking[i] += unknown_[at + i];
      });
    double dot[kLanes] = {}, cross[kLanes] = {}, size[kLanes] = {}, score[kLanes];
    for (const Seen& joint : seen_)
      each([&, at = joint.offset + first, share = 1 / n](int64_t i) {
        const double pu = u_[at + i] - u[i] * share, pv = v_[at + i] - v[i] * share;
        dot[i] += joint.x * pu + joint.y * pv;
        cross[i] += joint.y * pu - joint.x * pv;
        size[i] += pu * pu + pv * pv;
      });
    each([&, per_spread = 1 / spread](int64_t i) {
      const double fitted = (dot[i] * dot[i] + cross[i] * cross[i]) * per_spread;
      const double rest = std::max(size[i] - fitted - kRounding * size[i], 0.0);  // E
      const double bound = score_ == FitScore::kOverlap ? (n - rest / 2 + rest * rest / 8) / known_[first + i]
                                                        : 1 / (1 + std::sqrt(rest) + rest / 2);
      score[i] = lacking[i] > 0 ? 0 : bound * (1 + kRounding);
    });
    std::copy_n(score, templates, bounds_.begin() + first);
  }

  int64_t count_, joints_;
  FitScore score_;
  std::vector<double> u_, v_, unknown_;  // (joints, templates)
  std::vector<double> known_;            // joints of each template
  std::vector<double> bounds_;
  std::vector<Seen> seen_;
};

}  // namespace pose2seg
