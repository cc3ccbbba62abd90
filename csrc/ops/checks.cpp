#include "ops/checks.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <sstream>
#include <string>

namespace pose2seg {
namespace {

std::string shape_text(at::IntArrayRef sizes) {
  std::ostringstream text;
  text << "(";
  for (size_t i = 0; i < sizes.size(); ++i) text << (i ? ", " : "") << sizes[i];
  text << (sizes.size() == 1 ? ",)" : ")");
  return text.str();
}

void check_strided(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK_TYPE(!tensor.is_nested(), name, " must be a dense tensor, got a nested one");
  TORCH_CHECK_TYPE(tensor.layout() == at::kStrided, name, " must be a dense tensor, got one of layout ",
                   tensor.layout());
  // Of a subclass that wraps others, of torch.func, or of a FakeTensor beside real ones.
  TORCH_CHECK_TYPE(
      tensor.is_meta() || (tensor.has_storage() && tensor.unsafeGetTensorImpl()->storage_initialized()), name,
      " must be a dense tensor, got one without memory of its own");
}

}  // namespace

const char* dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kHalf: return "float16";
    case at::kBFloat16: return "bfloat16";
    case at::kByte: return "uint8";
    case at::kChar: return "int8";
    case at::kShort: return "int16";
    case at::kInt: return "int32";
    case at::kLong: return "int64";
    case at::kComplexFloat: return "complex64";
    case at::kComplexDouble: return "complex128";
    case at::kBool: return "bool";
    default: return c10::toString(type);
  }
}

void check_shape(const at::Tensor& tensor, const char* name, const char* expected, at::IntArrayRef sizes) {
  check_strided(tensor, name);
  bool matches = tensor.dim() == static_cast<int64_t>(sizes.size());
  for (int64_t i = 0; matches && i < tensor.dim(); ++i) matches = sizes[i] < 0 || tensor.size(i) == sizes[i];
  TORCH_CHECK_VALUE(matches, name, " must be ", expected, ", got ", shape_text(tensor.sizes()));
}

void check_floating(const at::Tensor& tensor, const char* name) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16,
                   name, " must be float32, float64, float16 or bfloat16, got ", dtype_name(type));
}

void check_geometry_dtype(const at::Tensor& tensor, const char* name, const at::Tensor& data,
                          const char* data_name) {
  const auto expected = data.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  TORCH_CHECK_TYPE(tensor.scalar_type() == expected, name, " must be ", dtype_name(expected), " with ",
                   dtype_name(data.scalar_type()), " ", data_name, ", got ",
                   dtype_name(tensor.scalar_type()));
}

void check_geometry(const at::Tensor& tensor, const char* name) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble, name, " must be float32 or float64, got ",
                   dtype_name(type));
}

void check_index(const at::Tensor& index, const char* name, int64_t instances) {
  check_strided(index, name);
  TORCH_CHECK_TYPE(index.scalar_type() == at::kLong, name, " must be int64, got ",
                   dtype_name(index.scalar_type()));
  TORCH_CHECK_VALUE(index.dim() == 1 && index.size(0) == instances, name, " must be (", instances,
                    ",), one image index per matrix, got ", shape_text(index.sizes()));
}

void check_device(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK_NOT_IMPLEMENTED(tensor.is_cpu() || tensor.is_cuda(), name,
                              " must be on a cpu or cuda device, got ", tensor.device(),
                              "; the ops of pose2seg_ops.reference run on any device");
#ifndef POSE2SEG_WITH_CUDA
  TORCH_CHECK(
      tensor.is_cpu(), name, " is on ", tensor.device(),
      ", but pose2seg_ops was built without CUDA kernels; pose2seg_ops._build_info.WHY_NO_CUDA says why");
#endif
}

void check_same_device(const at::Tensor& tensor, const char* name, const at::Tensor& first,
                       const char* first_name) {
  TORCH_CHECK_VALUE(tensor.device() == first.device(), name, " must be on ", first.device(), " as ",
                    first_name, " is, got ", tensor.device());
}

void check_size(at::IntArrayRef size, const char* name) {
  TORCH_CHECK_VALUE(size.size() == 2 && size[0] > 0 && size[1] > 0, name,
                    " must be a positive (height, width), got ", shape_text(size));
}

void check_no_tangent(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK_NOT_IMPLEMENTED(!tensor._fw_grad(/*level=*/0).defined(), name,
                              " carries a tangent, and pose2seg_ops has no forward mode AD");
}

void check_no_gradient(const at::Tensor& tensor, const char* name, const char* op) {
  check_no_tangent(tensor, name);
  TORCH_CHECK_NOT_IMPLEMENTED(!(tensor.requires_grad() && at::GradMode::is_enabled()), op,
                              " has no gradient, and ", name,
                              " requires one: detach it, or use pose2seg_ops.reference.", op);
}

Convention parse_convention(std::string_view name) {
  if (name == "integer") return Convention::kInteger;
  if (name == "half_pixel") return Convention::kHalfPixel;
  if (name == "pose2seg") return Convention::kPose2Seg;
  TORCH_CHECK_VALUE(false, "convention must be 'integer', 'half_pixel' or 'pose2seg', got '", name, "'");
}

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble: return DType::kDouble;
    case at::kHalf: return DType::kHalf;
    case at::kBFloat16: return DType::kBFloat16;
    default: return DType::kFloat;
  }
}

at::Tensor settled(const at::Tensor& tensor) { return tensor.resolve_neg(); }

at::Tensor dense(const at::Tensor& tensor) { return settled(tensor).contiguous(); }

}  // namespace pose2seg
