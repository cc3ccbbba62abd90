#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ops/errors.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"
#include "python/torch_runtime.h"

// Python bindings of the ops. pose2seg_ops/_operator.py calls them, directly or through the dispatcher.

namespace py = pybind11;

namespace pose2seg {
namespace {

// A sequence of integers. Any object with __index__ counts as an integer.
struct Integers {
  std::vector<int64_t> values;
};

// A sequence of pairs of integers, flattened.
struct Pairs {
  std::vector<int64_t> values;
};

// A sequence of integers or of pairs of integers, flattened.
struct FlatOrPairs {
  std::vector<int64_t> values;
};

// A sequence of floating-point numbers.
struct Numbers {
  std::vector<double> values;
};

// A str. pybind11's own conversion would also accept bytes.
struct Text {
  std::string_view value;
};

// The items of a list or a tuple. Other sequences are rejected, since a tensor is a sequence as well.
struct Items {
  py::tuple values;  // owns the items, so that another thread may change the list
};

bool append(PyObject* item, std::vector<int64_t>& values) {
  values.push_back(PyLong_AsLongLong(item));
  return values.back() != -1 || !PyErr_Occurred();
}

bool append(PyObject* item, std::vector<double>& values) {
  values.push_back(PyFloat_AsDouble(item));
  return values.back() != -1 || !PyErr_Occurred();
}

// Returns the items of a sequence, or null. An iterator is rejected: if the conversion failed, its items
// could not be read a second time.
py::object items_of(PyObject* source) {
  if (!PySequence_Check(source)) return {};
  return py::reinterpret_steal<py::object>(PySequence_Fast(source, ""));
}

// Appends every item of a sequence. Returns false on failure, in which case a Python exception may be set.
template <class Value>
bool append_all(PyObject* source, std::vector<Value>& values) {
  const py::object items = items_of(source);
  if (!items) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.ptr());
  values.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!append(PySequence_Fast_GET_ITEM(items.ptr(), i), values)) return false;
  return true;
}

bool append_pairs(PyObject* source, std::vector<int64_t>& values) {
  const py::object items = items_of(source);
  if (!items) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* pair = PySequence_Fast_GET_ITEM(items.ptr(), i);
    const size_t before = values.size();
    if (PyUnicode_Check(pair) || !append_all(pair, values) || values.size() != before + 2) return false;
  }
  return true;
}

bool load(PyObject* source, Integers& integers) { return append_all(source, integers.values); }

bool load(PyObject* source, Pairs& pairs) { return append_pairs(source, pairs.values); }

bool load(PyObject* source, FlatOrPairs& integers) {
  if (append_all(source, integers.values)) return true;
  PyErr_Clear();
  integers.values.clear();
  return append_pairs(source, integers.values);
}

bool load(PyObject* source, Numbers& numbers) {
  return !is_plain_tensor(source) && append_all(source, numbers.values);
}

bool load(PyObject* source, Text& text) {
  Py_ssize_t size;
  const char* characters = PyUnicode_Check(source) ? PyUnicode_AsUTF8AndSize(source, &size) : nullptr;
  if (characters != nullptr) text.value = {characters, static_cast<size_t>(size)};
  return characters != nullptr;
}

bool load(PyObject* source, Items& items) {
  if (!PyList_Check(source) && !PyTuple_Check(source)) return false;
  items.values = py::reinterpret_steal<py::tuple>(PySequence_Tuple(source));
  return static_cast<bool>(items.values);
}

}  // namespace
}  // namespace pose2seg

namespace pybind11::detail {

// Converts what an overload of load() accepts; pybind11 raises a TypeError for anything else.
template <class Value>
struct loading_caster {
  PYBIND11_TYPE_CASTER(Value, const_name("object"));

  bool load(handle source, bool) {
    if (pose2seg::load(source.ptr(), value)) return true;
    PyErr_Clear();
    return false;
  }
};

template <>
struct type_caster<pose2seg::Integers> : loading_caster<pose2seg::Integers> {};
template <>
struct type_caster<pose2seg::Pairs> : loading_caster<pose2seg::Pairs> {};
template <>
struct type_caster<pose2seg::FlatOrPairs> : loading_caster<pose2seg::FlatOrPairs> {};
template <>
struct type_caster<pose2seg::Numbers> : loading_caster<pose2seg::Numbers> {};
template <>
struct type_caster<pose2seg::Text> : loading_caster<pose2seg::Text> {};
template <>
struct type_caster<pose2seg::Items> : loading_caster<pose2seg::Items> {};

template <>
struct type_caster<pose2seg::ScalarType> {
  PYBIND11_TYPE_CASTER(pose2seg::ScalarType, const_name("torch.dtype"));

  bool load(handle source, bool) {
    const auto found = pose2seg::scalar_type(source);
    if (found) value = *found;
    return found.has_value();
  }
};

}  // namespace pybind11::detail

namespace pose2seg {
namespace {

// The type that Python passes for each parameter type of an op.
template <class Parameter>
struct FromPython {
  using type = Parameter;
};
template <>
struct FromPython<const Tensor&> {
  using type = py::handle;
};
template <>
struct FromPython<std::span<const Tensor>> {
  using type = Items;
};
template <>
struct FromPython<Sizes> {
  using type = Integers;
};
template <>
struct FromPython<Limbs> {
  using type = FlatOrPairs;
};
template <>
struct FromPython<ImageSizes> {
  using type = Pairs;
};
template <>
struct FromPython<std::span<const double>> {
  using type = Numbers;
};
template <>
struct FromPython<std::string_view> {
  using type = Text;
};

// Whether the kernels accept the argument without any conversion.
template <class Argument>
bool is_plain(const Argument& argument) {
  if constexpr (std::is_same_v<Argument, py::handle>) return is_plain_tensor(argument);
  if constexpr (std::is_same_v<Argument, Items>)
    return std::all_of(argument.values.begin(), argument.values.end(), is_plain_tensor);
  return true;
}

template <class Argument>
const Argument& converted(const Argument& argument) {
  return argument;
}
Tensor converted(const py::handle& argument) { return view(argument); }
std::vector<Tensor> converted(const Items& items) {
  std::vector<Tensor> views;
  views.reserve(items.values.size());
  for (const py::handle item : items.values) views.push_back(view(item));
  return views;
}
const std::vector<int64_t>& converted(const Integers& argument) { return argument.values; }
Limbs converted(const FlatOrPairs& argument) { return {argument.values.begin(), argument.values.end()}; }
ImageSizes converted(const Pairs& argument) { return {argument.values.begin(), argument.values.end()}; }
const std::vector<double>& converted(const Numbers& argument) { return argument.values; }
std::string_view converted(const Text& argument) { return argument.value; }

py::object returned(const Tensor& tensor) { return to_python(tensor); }
py::object returned(const std::vector<Tensor>& tensors) {
  py::list list(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) list[i] = to_python(tensors[i]);
  return list;
}
py::object returned(const std::vector<std::string>& encoded) {
  py::list list(encoded.size());
  for (size_t i = 0; i < encoded.size(); ++i) list[i] = py::bytes(encoded[i]);
  return list;
}
template <class... Tensors>
py::object returned(const std::tuple<Tensors...>& tensors) {
  py::tuple tuple(sizeof...(Tensors));
  size_t i = 0;
  std::apply([&](const auto&... each) { ((tuple[i++] = to_python(each)), ...); }, tensors);
  return tuple;
}

template <class Argument>
void check_separate(const Tensor&, const Argument&) {}
void check_separate(const Tensor& out, const Tensor& argument) { check_no_overlap(out, argument); }
void check_separate(const Tensor& out, std::span<const Tensor> arguments) {
  for (const Tensor& argument : arguments) check_no_overlap(out, argument);
}
template <class Argument>
void check_separate(std::span<const Tensor> outs, const Argument& argument) {
  for (const Tensor& out : outs) check_separate(out, argument);
}

// Defines a function that returns NotImplemented, without computing anything, if an argument is not a plain
// tensor.
template <class... Parameters, class Op>
void define_function(py::module_& m, const std::string& name, Op op) {
  m.def(name.c_str(), [op](const typename FromPython<Parameters>::type&... arguments) -> py::object {
    if (!(is_plain(arguments) && ...)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
    return returned(op(converted(arguments)...));
  });
}

template <class Result, class... Parameters>
void define(py::module_& m, const char* name, Result (*op)(Parameters...)) {
  define_function<Parameters...>(m, name, op);
}

// Defines an op that can write into given memory as two functions: one with the name, and one with the suffix
// "_out" and the memory as its first argument.
template <class Result, class Out, class... Parameters>
void define(py::module_& m, const char* name, Result (*op)(const Out*, Parameters...)) {
  using OutParameter = std::conditional_t<std::is_same_v<Out, Tensor>, const Tensor&, Out>;
  define_function<Parameters...>(m, name,
                                 [op](Parameters... arguments) { return op(nullptr, arguments...); });
  define_function<OutParameter, Parameters...>(m, std::string(name) + "_out",
                                               [op](const Out& out, Parameters... arguments) {
                                                 (check_separate(out, arguments), ...);
                                                 return op(&out, arguments...);
                                               });
}

void translate_exception(std::exception_ptr pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (const TypeError& error) {
    py::set_error(PyExc_TypeError, error.what());
  } catch (const ValueError& error) {
    py::set_error(PyExc_ValueError, error.what());
  } catch (const NotImplementedError& error) {
    py::set_error(PyExc_NotImplementedError, error.what());
  }
}

}  // namespace
}  // namespace pose2seg

PYBIND11_MODULE(POSE2SEG_MODULE, m, py::mod_gil_not_used()) {
  using namespace pose2seg;
  m.doc() = "Kernels of pose2seg_ops; the modules of the package document and call them.";
#ifdef POSE2SEG_WITH_CUDA
  m.attr("cuda_version") = POSE2SEG_CUDA_VERSION;
  m.attr("cuda_architectures") = POSE2SEG_CUDA_ARCHITECTURES;
#else
  m.attr("cuda_version") = py::none();
  m.attr("cuda_architectures") = py::none();
#endif
  py::register_local_exception_translator(translate_exception);
  m.def("initialize", initialize_torch);
  define(m, "affine_align", affine_align);
  define(m, "affine_align_backward_input", affine_align_backward_input);
  define(m, "affine_align_backward_matrices", affine_align_backward_matrices);
  define(m, "skeleton_maps", skeleton_maps);
  define(m, "skeleton_maps_backward", skeleton_maps_backward);
  define(m, "align_with_skeleton", align_with_skeleton);
  define(m, "fit_pose_templates", fit_pose_templates);
  define(m, "paste_masks", paste_masks);
  define(m, "paste_rle", paste_rle);
  define(m, "encode_rle", encode_rle);
  define(m, "letterbox", letterbox);
}
