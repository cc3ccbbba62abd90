#include "ops/checks.h"

#include <cmath>

#include "ops/runtime.h"

namespace pose2seg {
namespace {

std::string dtype_text(const Tensor& tensor) {
  if (tensor.dtype == ScalarType::kOther) return attribute_text(tensor, "dtype");
  return dtype_name(tensor.dtype);
}

void check_dense(const Tensor& tensor, const char* name) {
  require<TypeError>(tensor.not_dense == nullptr, name, " must be a dense tensor, got ", tensor.not_dense);
}

}  // namespace

void append(std::string& message, const Shape& shape) {
  message += "(";
  for (size_t i = 0; i < shape.sizes.size(); ++i) {
    if (i > 0) message += ", ";
    append(message, shape.sizes[i]);
  }
  message += shape.sizes.size() == 1 ? ",)" : ")";
}

void check_shape(const Tensor& tensor, const char* name, const char* expected,
                 std::initializer_list<int64_t> sizes) {
  check_dense(tensor, name);
  bool matches = tensor.dim() == static_cast<int64_t>(sizes.size());
  for (int64_t i = 0; matches && i < tensor.dim(); ++i)
    matches = sizes.begin()[i] < 0 || tensor.size(i) == sizes.begin()[i];
  require<ValueError>(matches, name, " must be ", expected, ", got ", Shape{tensor.sizes()});
}

void check_floating_dtype(ScalarType dtype, const char* name) {
  require<TypeError>(is_floating(dtype), name, " must be float32, float64, float16 or bfloat16, got ",
                     dtype_name(dtype));
}

void check_floating(const Tensor& tensor, const char* name) {
  if (!is_floating(tensor.dtype))
    raise<TypeError>(name, " must be float32, float64, float16 or bfloat16, got ", dtype_text(tensor));
}

void check_geometry_dtype(const Tensor& tensor, const char* name, const Tensor& data, const char* data_name) {
  const auto expected = data.dtype == ScalarType::kDouble ? ScalarType::kDouble : ScalarType::kFloat;
  if (tensor.dtype != expected)
    raise<TypeError>(name, " must be ", dtype_name(expected), " with ", dtype_name(data.dtype), " ",
                     data_name, ", got ", dtype_text(tensor));
}

void check_geometry(const Tensor& tensor, const char* name) {
  if (tensor.dtype != ScalarType::kFloat && tensor.dtype != ScalarType::kDouble)
    raise<TypeError>(name, " must be float32 or float64, got ", dtype_text(tensor));
}

void check_index(const Tensor& index, const char* name, int64_t instances) {
  check_dense(index, name);
  if (index.dtype != ScalarType::kLong) raise<TypeError>(name, " must be int64, got ", dtype_text(index));
  require<ValueError>(index.dim() == 1 && index.size(0) == instances, name, " must be (", instances,
                      ",), one image index per matrix, got ", Shape{index.sizes()});
}

void check_device(const Tensor& tensor, const char* name) {
  if (tensor.is_cpu() || tensor.is_meta()) return;
  if (!tensor.is_cuda())
    raise<NotImplementedError>(name, " must be on a cpu or cuda device, got ",
                               attribute_text(tensor, "device"),
                               "; the ops of pose2seg_ops.reference run on any device");
#ifndef POSE2SEG_WITH_CUDA
  raise<RuntimeError>(name, " is on ", attribute_text(tensor, "device"),
                      ", but pose2seg_ops was built without CUDA kernels: nvcc was not found then, or "
                      "POSE2SEG_CUDA=0 was set");
#endif
}

void check_same_device(const Tensor& tensor, const char* name, const Tensor& first, const char* first_name) {
  if (tensor.device == first.device) return;
  raise<ValueError>(name, " must be on ", attribute_text(first, "device"), " as ", first_name, " is, got ",
                    attribute_text(tensor, "device"));
}

void check_has_values(const Tensor& tensor, const char* name) {
  require<NotImplementedError>(!tensor.is_meta(), name,
                               " must be on a cpu or cuda device, got meta: the shape of the result depends "
                               "on the values");
}

void check_size(Sizes size, const char* name) {
  require<TypeError>(size.size() == 2, name, " must be (height, width), two integers, got ", Shape{size});
  require<ValueError>(size[0] > 0 && size[1] > 0, name, " must be a positive (height, width), got ",
                      Shape{size});
}

Convention parse_convention(std::string_view name) {
  if (name == "integer") return Convention::kInteger;
  if (name == "half_pixel") return Convention::kHalfPixel;
  if (name == "pose2seg") return Convention::kPose2Seg;
  if (name == "inverse") return Convention::kInverse;
  raise<ValueError>("convention must be 'integer', 'half_pixel', 'pose2seg' or 'inverse', got '", name, "'");
}

namespace {

Interpolation parse_interpolation(std::string_view name) {
  if (name == "nearest") return Interpolation::kNearest;
  if (name == "bilinear") return Interpolation::kBilinear;
  if (name == "bicubic") return Interpolation::kBicubic;
  raise<ValueError>("interpolation must be 'nearest', 'bilinear' or 'bicubic', got '", name, "'");
}

Padding parse_padding(std::string_view name) {
  if (name == "zeros" || name == "fill") return Padding::kConstant;
  if (name == "border") return Padding::kBorder;
  if (name == "reflection") return Padding::kReflection;
  if (name == "roi_align") return Padding::kRoIAlign;
  raise<ValueError>("padding_mode must be 'zeros', 'fill', 'border', 'reflection' or 'roi_align', got '",
                    name, "'");
}

}  // namespace

Sampling parse_sampling(int64_t sampling_ratio, std::string_view interpolation, std::string_view padding_mode,
                        double fill) {
  require<ValueError>(sampling_ratio >= 0 && sampling_ratio <= kMaxSamplingRatio,
                      "sampling_ratio must be from 0 to ", kMaxSamplingRatio, ", got ", sampling_ratio);
  const Sampling sampling = {sampling_ratio, parse_interpolation(interpolation), parse_padding(padding_mode),
                             fill};
  require<ValueError>(padding_mode == "fill" || fill == 0,
                      "fill must be 0 unless padding_mode is 'fill', got ", fill, " with '", padding_mode,
                      "'");
  require<ValueError>(std::isfinite(fill), "fill must be finite, got ", fill);
  return sampling;
}

DType dtype_of(const Tensor& tensor) {
  switch (tensor.dtype) {
    case ScalarType::kDouble: return DType::kDouble;
    case ScalarType::kHalf: return DType::kHalf;
    case ScalarType::kBFloat16: return DType::kBFloat16;
    default: return DType::kFloat;
  }
}

}  // namespace pose2seg
