#pragma once

#include <cstdint>

#include "core/centred_resize.h"
#include "core/dtype.h"
#include "core/similarity.h"

struct CUstream_st;

namespace pose2seg {

struct FitPoseTemplatesParams {
  const void* keypoints;  // (poses, joints, 3) contiguous: x, y, visibility
  const void* templates;  // (templates, joints, 3) contiguous, in the unit square
  void* matrices;         // (poses, 2, 3)
  int64_t* index;         // (poses,)
  void* score;            // (poses,)
  int64_t poses, template_count, joints;
  double source_height, source_width, output_height, output_width;
  FitScore score_kind;
  DType dtype;  // float or double; of every tensor but index

  // Returns the letterbox resize from source to output. A fit must magnify by more than its scale.
  HOST_DEVICE CentredResize letterbox() const {
    return centred_resize(source_height, source_width, output_height, output_width);
  }
};

// The best fit so far. Of equal scores, the template with the lowest index wins.
struct BestFit {
  Similarity transform;
  double score;
  int64_t index;

  HOST_DEVICE bool beats(const BestFit& other) const {
    return score > other.score || (score == other.score && index >= 0 && index < other.index);
  }
};

HOST_DEVICE BestFit no_fit() { return {{0, 0, 0, 0}, 0, -1}; }

template <class T>
HOST_DEVICE BestFit fit_template(const FitPoseTemplatesParams& params, int64_t pose, int64_t index) {
  const T* keypoints = static_cast<const T*>(params.keypoints) + pose * params.joints * 3;
  const T* target = static_cast<const T*>(params.templates) + index * params.joints * 3;
  const PoseFit fit = fit_similarity(keypoints, target, params.joints, params.score_kind);
  const double magnification = fit.transform.scale() * std::sqrt(params.output_height * params.output_width);
  if (!(fit.score > 0 && magnification > params.letterbox().scale)) return no_fit();
  return {fit.transform, fit.score, index};
}

// Stores the best fit, scaled to the output frame, or the letterbox resize with index -1 and score 0.
template <class T>
HOST_DEVICE void store_fit(const FitPoseTemplatesParams& params, int64_t pose, const BestFit& best) {
  const double width = params.output_width, height = params.output_height;
  const Similarity& m = best.transform;
  const Affine<double> matrix = best.index >= 0 ? Affine<double>{m.a * width,   m.b * width,  m.tx * width,
                                                                 -m.b * height, m.a * height, m.ty * height}
                                                : params.letterbox().matrix();
  store_affine(matrix, static_cast<T*>(params.matrices) + pose * 6);
  params.index[pose] = best.index;
  static_cast<T*>(params.score)[pose] = T(best.score);
}

void fit_pose_templates_cpu(const FitPoseTemplatesParams& params);
void fit_pose_templates_cuda(const FitPoseTemplatesParams& params, CUstream_st* stream);

}  // namespace pose2seg
