"""Arguments of a wrong type: every op names the argument and the actual value."""

from typing import Any

import numpy as np
import pytest
import torch
from every_op import OPS, same, valid_arguments

import pose2seg_ops
from pose2seg_ops import _arguments, _operator, letterbox, paste_masks, skeleton_maps

TENSORS = [
    (op, name)
    for op in OPS
    for name, value in valid_arguments(op).items()
    if isinstance(value, torch.Tensor) or name == "images"
]


def call_with(backend, op: str, name: str, value: Any) -> Any:
    return getattr(backend, op)(**(valid_arguments(op, backend.device) | {name: value}))


@pytest.mark.parametrize(("op", "name"), TENSORS)
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "None"),
        (3, "3"),
        ("text", "'text'"),
        ([[1.0, 2.0]], r"list of list of 1\.0, 2\.0"),
        (np.zeros((3, 2, 3), np.float32), r"numpy\.ndarray"),
        ([np.zeros(3)], r"list of numpy\.ndarray"),
        ([float(i) for i in range(9)], r"list of 0\.0, 1\.0, 2\.0, 3\.0, \.\.\."),
        (iter([torch.zeros(1)]), "list_iterator"),
    ],
    ids=["None", "int", "str", "lists", "array", "arrays", "numbers", "iterator"],
)
def test_non_tensors_are_refused(backend, op, name, value, got):
    expected = "a list of tensors" if name == "images" else "a tensor"
    with pytest.raises(TypeError, match=rf"^{name} must be {expected}, got {got}$") as raised:
        call_with(backend, op, name, value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__  # the error of the binding is not shown


@pytest.mark.parametrize("op", ["affine_align", "align_with_skeleton"])
@pytest.mark.parametrize(
    "leaf", [torch.Tensor.requires_grad_, torch.nn.Parameter], ids=["tensor", "parameter"]
)
def test_non_tensors_are_refused_with_gradients(backend, op, leaf):
    arguments = valid_arguments(op, backend.device)
    arguments["input"] = leaf(arguments["input"])
    for name in ("matrices", "batch_index"):
        for value in (None, [1]):
            with pytest.raises(TypeError, match=f"^{name} must be a tensor, got "):
                getattr(backend, op)(**(arguments | {name: value}))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_tensors_that_are_not_dense_are_refused(backend, op, name):
    value = valid_arguments(op, backend.device)[name]
    dense = value[0] if name == "images" else value
    for other in (dense.to_sparse(), torch.nested.nested_tensor([dense[:1], dense[:2]])):
        with pytest.raises(TypeError, match=f"^{name} must be a dense tensor, got "):
            call_with(backend, op, name, [other] if name == "images" else other)


@pytest.mark.parametrize(("op", "name"), TENSORS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.complex64, torch.int8], ids=str)
def test_unsupported_dtypes_are_refused(backend, op, name, dtype):
    if op == "encode_rle" and dtype == torch.bool:
        pytest.skip("masks are bool")
    value = valid_arguments(op, backend.device)[name]
    other = [image.to(dtype) for image in value] if name == "images" else value.to(dtype)
    text = str(dtype).removeprefix("torch.")
    with pytest.raises(TypeError, match=f"^{name} must be (bool or )?(float32|int64|uint8).*, got {text}"):
        call_with(backend, op, name, other)


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("affine_align", {"convention": None}, "convention must be a string, got None"),
        ("affine_align", {"output_size": None}, r"output_size must be \(height, width\), two integers, got None"),
        ("affine_align", {"output_size": (6.0, 7)}, r"output_size must be .*, two integers, got \(6.0, 7\)"),
        ("affine_align", {"output_size": (2**70, 7)}, r"output_size must be integers of 64 bits, got tuple of 1180\d+, 7"),
        ("align_with_skeleton", {"sigma": "3"}, "sigma must be a number, got '3'"),
        ("align_with_skeleton", {"limb_width": None}, "limb_width must be a number, got None"),
        ("align_with_skeleton", {"limbs": None}, "limbs must be pairs of integers, got None"),
        ("skeleton_maps", {"limbs": 3}, "limbs must be pairs of integers, got 3"),
        ("skeleton_maps", {"limbs": "ab"}, "limbs must be pairs of integers, got 'a'"),
        ("skeleton_maps", {"limbs": [(0.0, 1.0)]}, r"limbs must be pairs of integers, got \(0.0, 1.0\)"),
        ("skeleton_maps", {"limbs": ((0, 2**70),)}, "limbs must be integers of 64 bits, got list of 0, 1180"),
        ("skeleton_maps", {"sigma": 1j}, "sigma must be a number, got 1j"),
        ("skeleton_maps", {"sigma": torch.zeros(2)}, "sigma must be a number, got torch.Tensor"),
        ("skeleton_maps", {"stride": 2.0}, "stride must be an integer of 64 bits, got 2.0"),
        ("skeleton_maps", {"stride": 2**70}, "stride must be an integer of 64 bits, got 1180"),
        ("skeleton_maps", {"signed_visibility": "yes"}, "signed_visibility must be True or False, got 'yes'"),
        ("skeleton_maps", {"limb_overlap": 0}, "limb_overlap must be a string, got 0"),
        ("skeleton_maps", {"dtype": np.float32}, "dtype must be a torch.dtype or None, got type"),
        ("affine_align", {"convention": b"integer"}, "convention must be a string, got bytes"),
        ("fit_pose_templates", {"score": None}, "score must be a string, got None"),
        ("fit_pose_templates", {"source_size": 4}, r"source_size must be \(height, width\), two integers, got 4"),
        ("paste_masks", {"image_sizes": None}, "image_sizes must be pairs of integers, got None"),
        ("paste_masks", {"image_sizes": [(4.0, 4)]}, r"image_sizes must be pairs of integers, got \(4.0, 4\)"),
        ("paste_masks", {"threshold": "half"}, "threshold must be a number or None, got 'half'"),
        ("paste_rle", {"image_sizes": None}, "image_sizes must be pairs of integers, got None"),
        ("paste_rle", {"threshold": "half"}, "threshold must be a number, got 'half'"),
        ("letterbox", {"size": None}, r"size must be \(height, width\), two integers, got None"),
        ("letterbox", {"mean": None}, "mean must be a list of numbers, got None"),
        ("letterbox", {"mean": 0.5}, "mean must be a list of numbers, got 0.5"),
        ("letterbox", {"mean": torch.zeros(3)}, "mean must be a list of numbers, got torch.Tensor"),
        ("letterbox", {"std": ("a", "b", "c")}, "std must be a list of numbers, got tuple of 'a', 'b', 'c'"),
        ("letterbox", {"images": torch.zeros(1, 4, 4, 3).byte()}, "images must be a list of tensors, got torch.Tensor"),
        ("letterbox", {"dtype": "float32"}, "dtype must be a torch.dtype, got 'float32'"),
        ("letterbox", {"mean": np.array(0.5)}, "mean must be a list of numbers, got numpy.ndarray"),
        ("letterbox", {"memory_format": "channels_last"}, "memory_format must be a torch.memory_format, got 'channels"),
    ],
)  # fmt: skip
def test_wrong_numbers_and_strings_are_refused(op, change, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        getattr(pose2seg_ops, op)(**(valid_arguments(op) | change))


def test_messages_have_all_digits():
    with pytest.raises(ValueError, match=r"got 1\.0000001$"):
        pose2seg_ops.paste_masks(**(valid_arguments("paste_masks") | {"threshold": 1.0000001}))
    with pytest.raises(ValueError, match=r"got -16777217 for channel 0$"):
        letterbox(**(valid_arguments("letterbox") | {"std": (-16777217.0, 1, 1)}))


def test_numpy_numbers_are_accepted():
    of_numpy: Any
    for of_numpy in (np.int64, np.int32, np.uint8):
        batch, _ = letterbox(**(valid_arguments("letterbox") | {"size": of_numpy(8)}))
        assert batch.shape == (2, 3, 8, 8)
        arguments = valid_arguments("skeleton_maps") | {"output_size": (of_numpy(6), of_numpy(7))}
        maps = skeleton_maps(**arguments, stride=of_numpy(2), sigma=np.float64(2))
        assert torch.equal(maps, skeleton_maps(**valid_arguments("skeleton_maps"), stride=2, sigma=2.0))
    arguments = valid_arguments("paste_masks")
    sizes = np.array(arguments["image_sizes"])
    masks = paste_masks(**(arguments | {"image_sizes": sizes}), threshold=np.float64(0.5))
    for ours, theirs in zip(masks, paste_masks(**arguments), strict=True):
        assert torch.equal(ours, theirs)


def test_pairs_and_sizes_may_come_from_iterators():
    arguments = valid_arguments("skeleton_maps")
    joints = zip(*arguments["limbs"], strict=True)
    maps = skeleton_maps(**(arguments | {"limbs": zip(*joints, strict=True), "output_size": iter((6, 7))}))
    assert torch.equal(maps, skeleton_maps(**arguments))
    for op in (paste_masks, pose2seg_ops.paste_rle):
        arguments = valid_arguments(op.__name__)
        sizes = zip(*zip(*arguments["image_sizes"], strict=True), strict=True)
        assert same(op(**(arguments | {"image_sizes": sizes})), op(**arguments))
    arguments = valid_arguments("affine_align")
    arguments |= {"input": arguments["input"].double(), "output_size": map(int, (4, 4))}
    with pytest.raises(TypeError, match=r"^matrices must be float64 with float64 input, got float32"):
        pose2seg_ops.affine_align(**arguments)


def test_a_result_beyond_64_bits_is_refused():
    arguments = valid_arguments("affine_align") | {"output_size": (2**40, 2**40)}
    with pytest.raises(RuntimeError, match="too large for memory"):
        pose2seg_ops.affine_align(**arguments)


def test_an_unknown_dtype_is_named_as_in_torch():
    arguments = valid_arguments("skeleton_maps")
    with pytest.raises(TypeError, match=r"^keypoints must be float32 or float64, got uint16$"):
        skeleton_maps(**(arguments | {"keypoints": torch.zeros(1, 4, 3, dtype=torch.uint16)}))


def test_a_wrong_signature_raises_the_error_of_python():
    op: Any = skeleton_maps
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output_size'"):
        op(torch.zeros(1, 4, 3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        op(torch.zeros(1, 4, 3), (4, 4), colour=3)
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3"):
        op(torch.zeros(1, 4, 3), (4, 4), ())


@pytest.mark.parametrize("operator", _operator._operators, ids=lambda operator: operator.name)
def test_every_type_of_the_schemas_has_a_check(operator):
    for kind in operator.parameters.values():
        assert kind in _arguments._EXPECTED


def test_a_cuda_tensor_without_cuda_kernels_is_refused():
    if pose2seg_ops.CUDA_VERSION is not None or not torch.cuda.is_available():
        pytest.skip("needs a GPU and a build without CUDA kernels")
    arguments = valid_arguments("affine_align", "cuda")
    with pytest.raises(RuntimeError, match=r"^input is on cuda:0, but .* was built without CUDA kernels"):
        pose2seg_ops.affine_align(**arguments)
