#include "python/torch_runtime.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "ops/errors.h"
#include "ops/runtime.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace pose2seg {
namespace {

constexpr int32_t kMaxDimensions = 8;  // of the tensors that the ops create

// Indexed by DeviceType.
constexpr std::array kDeviceTypeNames = {"cpu", "cuda", "meta"};

// Functions of torch/csrc/inductor/aoti_torch/c/shim.h that create ordinary tensors, as at::Tensor*.
struct TensorFactory {
  int32_t (*empty_strided)(int64_t dimensions, const int64_t* sizes, const int64_t* strides, int32_t dtype,
                           int32_t device_type, int32_t device_index, void** tensor) = nullptr;
  int32_t (*get_data_ptr)(void* tensor, void** data) = nullptr;
  int32_t (*get_sizes)(void* tensor, int64_t** sizes) = nullptr;
  int32_t (*get_strides)(void* tensor, int64_t** strides) = nullptr;
  int32_t (*delete_tensor)(void* tensor) = nullptr;
  PyObject* (*to_python)(const void* tensor) = nullptr;  // THPVariable_Wrap
  std::array<int32_t, kDtypeNames.size()> dtypes = {};
  std::array<int32_t, kDeviceTypeNames.size()> device_types = {};

  bool is_complete() const {
    return empty_strided && get_data_ptr && get_sizes && get_strides && delete_tensor && to_python;
  }
};

struct Torch {
  const DLPackExchangeAPI* api;
  PyTypeObject* tensor;
  PyTypeObject* parameter;
  PyObject* strided;
  PyObject* is_neg;
  PyObject* empty_strided;
  PyObject* current_stream;    // of CUDA
  PyObject* dtype_and_device;  // the keyword names of a call
  std::array<PyObject*, kDtypeNames.size()> dtypes;
  TensorFactory factory;
};

Torch torch;  // never destroyed, like the objects that it refers to

py::object checked(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

template <class Value>
void find_value(void* library, const std::string& name, Value& value) {
  Value (*function)() = nullptr;
  find(library, name.c_str(), function);
  if (function != nullptr) value = function();
}

TensorFactory find_factory(void* library) {
  TensorFactory factory;
  find(library, "aoti_torch_empty_strided", factory.empty_strided);
  find(library, "aoti_torch_get_data_ptr", factory.get_data_ptr);
  find(library, "aoti_torch_get_sizes", factory.get_sizes);
  find(library, "aoti_torch_get_strides", factory.get_strides);
  find(library, "aoti_torch_delete_tensor_object", factory.delete_tensor);
  for (size_t i = 0; i < kDtypeNames.size(); ++i)
    find_value(library, std::string("aoti_torch_dtype_") + kDtypeNames[i], factory.dtypes[i]);
  for (size_t i = 0; i < kDeviceTypeNames.size(); ++i)
    find_value(library, std::string("aoti_torch_device_type_") + kDeviceTypeNames[i],
               factory.device_types[i]);
  // The only C++ function. Its mangled name spells out the parameters, so a release that changes them has
  // another name.
  if (void* bindings = dlopen("libtorch_python.so", RTLD_NOLOAD | RTLD_LAZY))
    find(bindings, "_Z16THPVariable_WrapRKN2at10TensorBaseE", factory.to_python);
  return factory;
}

ScalarType scalar_type(const DLDataType& dtype) {
  constexpr auto key = [](int code, int bits) { return code << 8 | bits; };
  switch (key(dtype.code, dtype.bits)) {
    case key(kDLFloat, 32): return ScalarType::kFloat;
    case key(kDLFloat, 64): return ScalarType::kDouble;
    case key(kDLFloat, 16): return ScalarType::kHalf;
    case key(kDLBfloat, 16): return ScalarType::kBFloat16;
    case key(kDLUInt, 8): return ScalarType::kByte;
    case key(kDLBool, 8): return ScalarType::kBool;
    case key(kDLInt, 32): return ScalarType::kInt;
    case key(kDLInt, 64): return ScalarType::kLong;
    case key(kDLInt, 8): return ScalarType::kChar;
    case key(kDLInt, 16): return ScalarType::kShort;
    case key(kDLComplex, 64): return ScalarType::kComplexFloat;
    case key(kDLComplex, 128): return ScalarType::kComplexDouble;
    default: return ScalarType::kOther;
  }
}

Device device_of(const DLDevice& device) {
  if (device.device_type == kDLCPU) return {DeviceType::kCpu, 0};
  if (device.device_type == kDLCUDA) return {DeviceType::kCuda, device.device_id};
  return {DeviceType::kOther, device.device_id};
}

std::shared_ptr<void> borrowed(PyObject* object) { return {std::shared_ptr<void>(), object}; }

std::shared_ptr<void> owned(py::object object) {
  return {object.release().ptr(), [](void* pointer) { Py_DECREF(static_cast<PyObject*>(pointer)); }};
}

PyObject* python_object(const Tensor& tensor) { return static_cast<PyObject*>(tensor.object.get()); }

// Returns a view without elements for a tensor that DLPack cannot describe: one on the meta device, or one
// that is not dense.
Tensor view_without_elements(py::handle object, std::shared_ptr<void> owner) {
  Tensor tensor;
  tensor.dtype = pose2seg::scalar_type(object.attr("dtype")).value_or(ScalarType::kOther);
  if (object.attr("is_nested").cast<bool>()) {
    tensor.not_dense = "a nested one";
  } else if (!py::object(object.attr("layout")).is(py::handle(torch.strided))) {
    tensor.not_dense = "a sparse one";
  } else if (object.attr("is_quantized").cast<bool>()) {
    tensor.not_dense = "a quantized one";
  } else if (!object.attr("is_meta").cast<bool>()) {
    tensor.not_dense = "one without memory of its own";
  } else {
    struct Shape {
      std::shared_ptr<void> owner;
      std::vector<int64_t> sizes, strides;
    };
    const auto shape = std::make_shared<Shape>();
    shape->owner = std::move(owner);
    for (const py::handle size : object.attr("shape")) shape->sizes.push_back(size.cast<int64_t>());
    for (const py::handle stride : object.attr("stride")()) shape->strides.push_back(stride.cast<int64_t>());
    tensor.device = {DeviceType::kMeta, 0};
    tensor.dimensions = static_cast<int32_t>(shape->sizes.size());
    tensor.sizes_begin = shape->sizes.data();
    tensor.strides_begin = shape->strides.data();
    owner = {shape, object.ptr()};  // keeps the tensor and its sizes alive
  }
  tensor.object = std::move(owner);
  return tensor;
}

// Returns a view of `object`, which `owner` keeps alive.
Tensor view(PyObject* object, std::shared_ptr<void> owner) {
  DLTensor described;
  if (torch.api->dltensor_from_py_object_no_sync(object, &described) != 0) {
    PyErr_Clear();
    return view_without_elements(object, std::move(owner));
  }
  Tensor tensor;
  tensor.data = static_cast<char*>(described.data) + described.byte_offset;
  tensor.sizes_begin = described.shape;
  tensor.strides_begin = described.strides;
  tensor.dimensions = described.ndim;
  tensor.dtype = scalar_type(described.dtype);
  tensor.device = device_of(described.device);
  tensor.object = std::move(owner);
  return tensor;
}

Tensor view_of_new(py::object object) {
  PyObject* pointer = object.ptr();
  return view(pointer, owned(std::move(object)));
}

bool is_negated(PyObject* tensor) {
  return checked(PyObject_CallOneArg(torch.is_neg, tensor)).ptr() == Py_True;
}

// Allocates through C functions of torch, in a third of the time that Python takes. Returns nothing on
// failure.
std::optional<Tensor> empty_by_factory(Sizes sizes, const int64_t* strides, ScalarType dtype,
                                       const Device& device) {
  const TensorFactory& factory = torch.factory;
  void* created = nullptr;
  if (!factory.is_complete() ||
      factory.empty_strided(static_cast<int64_t>(sizes.size()), sizes.data(), strides,
                            factory.dtypes[static_cast<size_t>(dtype)],
                            factory.device_types[static_cast<size_t>(device.type)], device.index, &created))
    return {};
  const std::unique_ptr<void, int32_t (*)(void*)> handle(created, factory.delete_tensor);
  Tensor tensor;
  int64_t *own_sizes, *own_strides;  // live as long as the tensor
  if (factory.get_data_ptr(created, &tensor.data) || factory.get_sizes(created, &own_sizes) ||
      factory.get_strides(created, &own_strides))
    return {};
  tensor.sizes_begin = own_sizes;
  tensor.strides_begin = own_strides;
  tensor.dimensions = static_cast<int32_t>(sizes.size());
  tensor.dtype = dtype;
  tensor.device = device;
  tensor.object = owned(checked(factory.to_python(created)));
  return tensor;
}

// Allocates through Python, which raises torch's own exception if memory runs out.
Tensor empty_by_python(Sizes sizes, const int64_t* strides, ScalarType dtype, const Device& device) {
  py::tuple shape(sizes.size()), steps(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    shape[i] = sizes[i];
    steps[i] = strides[i];
  }
  std::string name = kDeviceTypeNames[static_cast<size_t>(device.type)];
  if (device.type == DeviceType::kCuda) name += ":" + std::to_string(device.index);
  const py::str device_name(name);
  PyObject* arguments[] = {shape.ptr(), steps.ptr(), torch.dtypes[static_cast<size_t>(dtype)],
                           device_name.ptr()};
  return view_of_new(checked(PyObject_Vectorcall(torch.empty_strided, arguments, 2, torch.dtype_and_device)));
}

// Advises huge pages only for whole huge pages within the allocation, so that no extra memory is used. A
// refusal is harmless.
void ask_for_huge_pages(void* memory, int64_t bytes) {
  constexpr uintptr_t kHugePage = 2 << 20;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t last = (begin + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

void store_strides(Sizes sizes, Layout layout, int64_t* strides) {
  constexpr int kChannelsLast[] = {1, 3, 2, 0};  // from the innermost dimension to the outermost
  int64_t step = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const size_t dimension = layout == Layout::kChannelsLast ? kChannelsLast[i] : sizes.size() - 1 - i;
    strides[dimension] = step;
    step *= std::max<int64_t>(sizes[dimension], layout == Layout::kContiguous);
  }
}

}  // namespace

void initialize_torch(const py::object& module) {
  const py::object tensor = module.attr("Tensor"), capsule = tensor.attr("__dlpack_c_exchange_api__");
  torch.api = static_cast<DLPackExchangeAPI*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (torch.api == nullptr) throw py::error_already_set();
  torch.tensor = reinterpret_cast<PyTypeObject*>(tensor.ptr());
  torch.parameter =
      reinterpret_cast<PyTypeObject*>(py::object(module.attr("nn").attr("Parameter")).release().ptr());
  torch.strided = py::object(module.attr("strided")).release().ptr();
  torch.is_neg = py::object(tensor.attr("is_neg")).release().ptr();
  torch.empty_strided = py::object(module.attr("empty_strided")).release().ptr();
  torch.current_stream = py::object(module.attr("cuda").attr("current_stream")).release().ptr();
  torch.dtype_and_device = py::make_tuple("dtype", "device").release().ptr();
  for (size_t i = 0; i < kDtypeNames.size(); ++i)
    torch.dtypes[i] = py::object(module.attr(kDtypeNames[i])).release().ptr();
  // The library is already loaded. It is looked up by name, since Python does not make the symbols of
  // libraries global.
  if (void* library = dlopen("libtorch_cpu.so", RTLD_NOLOAD | RTLD_LAZY)) {
    ThreadPool pool;
    find(library, "torch_parallel_for", pool.parallel_for);
    find(library, "torch_get_num_threads", pool.get_num_threads);
    use_thread_pool(pool);
    torch.factory = find_factory(library);
  } else if (PyErr_WarnEx(PyExc_RuntimeWarning,
                          "pose2seg_ops did not find libtorch_cpu.so: its ops run on one thread", 1)) {
    throw py::error_already_set();
  }
  use_instruction_set(module.attr("backends").attr("cpu").attr("get_cpu_capability")().cast<std::string>());
}

bool is_plain_tensor(py::handle object) {
  const PyTypeObject* type = Py_TYPE(object.ptr());
  return type == torch.tensor || type == torch.parameter;
}

Tensor view(py::handle object) {
  Tensor tensor = view(object.ptr(), borrowed(object.ptr()));
  // The DLPack table describes the raw memory, in which a lazy negation has not yet been applied. Only
  // imaginary parts of complex tensors have the negation bit.
  if (is_floating(tensor.dtype) && is_negated(object.ptr())) return view_of_new(object.attr("resolve_neg")());
  return tensor;
}

std::optional<ScalarType> scalar_type(py::handle dtype) {
  if (Py_TYPE(dtype.ptr()) != Py_TYPE(torch.dtypes[0])) return {};
  for (size_t i = 0; i < torch.dtypes.size(); ++i)
    if (dtype.ptr() == torch.dtypes[i]) return static_cast<ScalarType>(i);
  return ScalarType::kOther;
}

py::object to_python(const Tensor& tensor) {
  return py::reinterpret_borrow<py::object>(python_object(tensor));
}

Tensor empty(Sizes sizes, ScalarType dtype, const Device& device, Layout layout) {
  int64_t strides[kMaxDimensions];
  require<RuntimeError>(sizes.size() <= kMaxDimensions, "a tensor of ", sizes.size(), " dimensions");
  int64_t bytes = element_size(dtype);
  for (const int64_t size : sizes)
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes))
      raise<RuntimeError>("the result is too large for memory: its size does not fit into 64 bits");
  store_strides(sizes, layout, strides);
  auto created = empty_by_factory(sizes, strides, dtype, device);
  Tensor tensor = created ? std::move(*created) : empty_by_python(sizes, strides, dtype, device);
  if (tensor.is_cpu()) ask_for_huge_pages(tensor.data, bytes);
  return tensor;
}

Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype, const Device& device, Layout layout) {
  return empty(Sizes(sizes.begin(), sizes.size()), dtype, device, layout);
}

void fill_zeros(const Tensor& tensor) { py::handle(python_object(tensor)).attr("zero_")(); }

Tensor contiguous(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  return view_of_new(py::handle(python_object(tensor)).attr("contiguous")());
}

Tensor to_cpu(const Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  const py::handle source(python_object(tensor));
  // A copy that does not block goes to pinned memory, without a detour.
  py::object copy = source.attr("to")("cpu", py::arg("non_blocking") = true);
  py::handle(torch.current_stream)(source.attr("device")).attr("synchronize")();
  return view_of_new(std::move(copy));
}

void* current_stream(const Device& device) {
  void* stream = nullptr;
  if (torch.api->current_work_stream(kDLCUDA, device.index, &stream) != 0) throw py::error_already_set();
  return stream;
}

std::string attribute_text(const Tensor& tensor, const char* attribute) {
  const std::string text = py::str(py::handle(python_object(tensor)).attr(attribute));
  return text.starts_with("torch.") ? text.substr(6) : text;
}

ReleasedGil::ReleasedGil() : state_(PyEval_SaveThread()) {}

ReleasedGil::~ReleasedGil() { PyEval_RestoreThread(static_cast<PyThreadState*>(state_)); }

}  // namespace pose2seg
