import json
import math
import os
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from golden import golden_path
from pose2seg import (
    InputError,
    Pose2Seg,
    load_checkpoint,
    load_encoder_weights,
    load_model,
    save_checkpoint,
    save_official_checkpoint,
)
from pose2seg.network import checkpoint
from pose2seg.network.encoders.resnet import ResNet
from small_model import small_model

Weights = dict[str, torch.Tensor]


TEMPLATES = torch.ones(1, 17, 3)


def as_official(weights: Weights) -> Weights:
    """Returns weights with the names of the original, and with the convolutions that it does not use."""
    names = {key: key for key in weights}
    for key in names:
        if key.startswith("backbone."):
            names[key] = key.replace("downsample.0", "conv4").replace("downsample.1", "bn4")
    unused = {
        f"backbone.fpn_p{level}.{leaf}": torch.zeros(8) for level in (2, 3, 4) for leaf in ("weight", "bias")
    }
    return OrderedDict((names[key], tensor) for key, tensor in weights.items()) | unused


def assert_same(ours: Weights, theirs: Weights) -> None:
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_official_keys_and_shapes_are_ours() -> None:
    entries = json.loads(golden_path("state_dict_official.json").read_text())["state_dict"]
    unused = ("backbone.fpn_p2", "backbone.fpn_p3", "backbone.fpn_p4")
    official = {key: tuple(shape) for key, shape, _ in entries if not key.startswith(unused)}
    with torch.device("meta"):
        weights = Pose2Seg(TEMPLATES).state_dict()
    shapes = {key: tuple(t.shape) for key, t in as_official(weights).items() if not key.startswith(unused)}
    assert shapes == official


def test_official_checkpoints_have_the_originals_names_shapes_and_dtypes(tmp_path: Path) -> None:
    entries = json.loads(golden_path("state_dict_official.json").read_text())["state_dict"]
    save_official_checkpoint(Pose2Seg(TEMPLATES, convention="pose2seg"), tmp_path / "official.pkl")
    weights = torch.load(tmp_path / "official.pkl", weights_only=True)
    assert isinstance(weights, OrderedDict)
    written = [(key, list(tensor.shape), str(tensor.dtype)) for key, tensor in weights.items()]
    assert written == [(key, shape, f"torch.{dtype.removeprefix('torch.')}") for key, shape, dtype in entries]


def test_official_checkpoints_restore_the_weights(tmp_path: Path) -> None:
    trained = small_model(TEMPLATES)
    trained.convention = "pose2seg"
    save_official_checkpoint(trained, tmp_path / "official.pkl")
    model = small_model(TEMPLATES)
    load_checkpoint(model, tmp_path / "official.pkl")
    assert_same(model.state_dict(), trained.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ["official.pkl"]


@pytest.mark.parametrize("convention", ["integer", "half_pixel"])
def test_official_checkpoints_need_the_originals_convention(tmp_path: Path, convention: Any) -> None:
    model = Pose2Seg(TEMPLATES, small_model(TEMPLATES).architecture, convention=convention)
    with pytest.raises(ValueError, match=rf"""convention is "pose2seg", the model's '{convention}'"""):
        save_official_checkpoint(model, tmp_path / "official.pkl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("zipped", [False, True], ids=["torch 1.0", "torch 1.6"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("segnet.", "segnet."), ("segnet.", "pose2seg.seg_branch."), ("", "module.")],
)
def test_official_pickles_load(tmp_path: Path, zipped: bool, ours: str, theirs: str) -> None:
    trained = small_model(TEMPLATES)
    official = {
        theirs + key.removeprefix(ours) if key.startswith(ours) else key: tensor
        for key, tensor in as_official(trained.state_dict()).items()
    }
    path = tmp_path / "release.pkl"
    torch.save(OrderedDict(official), path, _use_new_zipfile_serialization=zipped)
    model = small_model(TEMPLATES)
    load_checkpoint(model, path)
    assert_same(model.state_dict(), trained.state_dict())
    assert model.convention == "pose2seg"


def test_batch_counts_may_be_missing(tmp_path: Path) -> None:
    weights = as_official(small_model(TEMPLATES).state_dict())
    path = tmp_path / "old.pth"
    torch.save({key: tensor for key, tensor in weights.items() if "num_batches" not in key}, path)
    load_checkpoint(small_model(TEMPLATES), path)


@pytest.mark.parametrize("convention", ["integer", "half_pixel", "pose2seg"])
def test_safetensors_restore_weights_and_convention(tmp_path: Path, convention: Any) -> None:
    trained = small_model(TEMPLATES)
    trained.segnet.conv1.weight.data = trained.segnet.conv1.weight.data.to(memory_format=torch.channels_last)
    trained.convention = convention
    path = tmp_path / "new" / "model.safetensors"
    save_checkpoint(trained, path)
    model = small_model(TEMPLATES)
    load_checkpoint(model, path)
    assert_same(model.state_dict(), trained.state_dict())
    assert model.convention == convention
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_the_small_model_can_be_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_same(load_model("small").state_dict(), load_model().state_dict())
    other = load_model()
    load_checkpoint(other, "small")
    with pytest.raises(FileNotFoundError):
        load_model(Path("small"))


def test_a_model_is_loaded_onto_a_device(tmp_path: Path) -> None:
    model = load_model(device="meta")
    assert {parameter.device.type for parameter in (*model.parameters(), *model.buffers())} == {"meta"}
    assert not model.training


def test_a_checkpoint_rebuilds_its_model(tmp_path: Path) -> None:
    trained = small_model(torch.rand(4, 17, 3))
    trained.convention = "half_pixel"
    save_checkpoint(trained, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert_same(model.state_dict(), trained.state_dict())
    assert model.architecture == trained.architecture
    assert model.convention == "half_pixel"
    assert torch.equal(model.templates, trained.templates)
    assert not model.training
    other = torch.rand(2, 17, 3)
    assert torch.equal(load_model(tmp_path / "model.safetensors", other).templates, other)


def test_official_weights_have_the_originals_sizes(tmp_path: Path) -> None:
    original = Pose2Seg(TEMPLATES, convention="pose2seg")
    save_official_checkpoint(original, tmp_path / "official.pkl")
    with pytest.raises(InputError, match=r"official.pkl: has no pose templates, and none were given"):
        load_model(tmp_path / "official.pkl")
    model = load_model(tmp_path / "official.pkl", TEMPLATES)
    assert_same(model.state_dict(), original.state_dict())
    assert model.convention == "pose2seg"


def safetensors_of(model: Pose2Seg, **metadata: str) -> bytes:
    tensors = {**model.state_dict(), "templates": model.templates}
    return safetensors.torch.save(tensors, {"convention": "integer", **metadata})


@pytest.mark.parametrize(
    "architecture",
    [
        "",
        "3",
        "{}",
        '{"width": 3}',
        '{"backbone_blocks": 3}',
        '{"backbone_blocks": [1, 1, 1]}',
        '{"backbone_blocks": [1, 1, 1, true]}',
        '{"channels": "8"}',
        '{"channels": 0}',
        '{"head_blocks": 1000000000}',
        "[" * 100_000,
    ],
)
def test_impossible_sizes_are_rejected(tmp_path: Path, architecture: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_of(small_model(TEMPLATES), architecture=architecture))
    with pytest.raises(InputError, match=r'model.safetensors: .*"architecture"|weights do not fit the model'):
        load_model(path)


def test_wrong_sizes_of_a_model_allocate_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_of(small_model(TEMPLATES), architecture='{"head_width": 4096}'))
    with pytest.raises(InputError, match="weights do not fit the model"):
        load_model(path)  # 10 billion parameters


@pytest.mark.parametrize(
    "architecture", ['{"backbone_blocks": [4096, 4096, 4096, 4096]}', '{"head_blocks": 4096}']
)
def test_blocks_that_are_not_in_the_file_are_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_of(small_model(TEMPLATES), architecture=architecture))
    monkeypatch.delattr(checkpoint, "Pose2Seg")
    with pytest.raises(InputError, match=r"weights do not fit the model: \d+ tensors for \d+ blocks$"):
        load_model(path)


def test_safetensors_with_a_size_beyond_64_bits_are_rejected_in_one_line(tmp_path: Path) -> None:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match=r"model.safetensors: not a safetensors file: [^\n]+$"):
        load_model(path)


@pytest.mark.parametrize(("count", "joints"), [(0, 17), (1, 0), (2, 2)])
def test_templates_that_fit_no_pose_are_rejected(tmp_path: Path, count: int, joints: int) -> None:
    path = tmp_path / "model.safetensors"
    model = small_model(TEMPLATES)
    model.templates = torch.ones(count, 17, 3) * (torch.arange(17) < joints)[:, None]
    save_checkpoint(model, path)
    with pytest.raises(
        InputError, match=r"model.safetensors: one of the templates must have at least 3 joints"
    ):
        load_model(path)


@pytest.mark.parametrize("templates", [None, torch.zeros(17, 3), torch.zeros(2, 16, 3)])
def test_safetensors_without_templates_are_rejected(tmp_path: Path, templates: torch.Tensor | None) -> None:
    path = tmp_path / "model.safetensors"
    tensors = small_model(TEMPLATES).state_dict() | ({} if templates is None else {"templates": templates})
    safetensors.torch.save_file(tensors, path, {"convention": "integer"})
    with pytest.raises(InputError, match=r'expected "templates" to be \(T, 17, 3\), got '):
        load_model(path)


def test_torchvision_weights_only_fill_the_resnet(tmp_path: Path) -> None:
    trained, backbone = ResNet((1, 1, 1, 1), 4, 8), ResNet((1, 1, 1, 1), 4, 8)
    pyramid = {key: tensor.clone() for key, tensor in backbone.state_dict().items() if key.startswith("fpn_")}
    resnet = {key: tensor for key, tensor in trained.state_dict().items() if not key.startswith("fpn_")}
    path = tmp_path / "resnet.pth"
    torch.save(resnet | {"fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}, path)
    load_encoder_weights(backbone, path)
    assert_same(backbone.state_dict(), resnet | pyramid)


def test_torchvision_keys_and_shapes_are_the_backbones() -> None:
    mapping = json.loads(golden_path("key_mapping_torchvision.json").read_text())
    entries = mapping["torchvision_resnet50 -> Pose2Seg state_dict (None = dropped)"]
    torchvision = {theirs: tuple(shape) for theirs, official, shape in entries if official is not None}
    with torch.device("meta"):
        weights = Pose2Seg(TEMPLATES).backbone.state_dict()
    assert {k: tuple(t.shape) for k, t in weights.items() if not k.startswith("fpn_")} == torchvision


def test_weights_that_do_not_fit_are_listed_and_change_nothing(tmp_path: Path) -> None:
    weights = as_official(small_model(TEMPLATES).state_dict())
    for leaf in ("weight", "bias"):
        del weights[f"segnet.conv1.{leaf}"], weights[f"segnet.bn1.{leaf}"]
    weights["segnet.extra"] = torch.zeros(3)
    weights["segnet.pred_small.bias"] = torch.zeros(3)
    path = tmp_path / "other.pth"
    torch.save(weights, path)
    model = small_model(TEMPLATES)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as raised:
        load_checkpoint(model, path)
    assert str(raised.value) == (
        f"{path}: weights do not fit the model: "
        "4 missing (segnet.conv1.weight, segnet.conv1.bias, segnet.bn1.weight, ...); "
        "1 unexpected (segnet.extra); "
        "1 of another shape (segnet.pred_small.bias (3,), expected (2,))"
    )
    assert_same(model.state_dict(), before)
    assert model.convention == "integer"


class Attack:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.victim),)


def test_pickles_without_the_convention_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    for prefix in ("", "module."):
        weights = small_model(TEMPLATES).state_dict()
        torch.save({prefix + key: tensor for key, tensor in weights.items()}, path)
        with pytest.raises(
            InputError, match=r"backbone\.layer1\.0\.downsample.* is not a name of .*save_checkpoint"
        ):
            load_checkpoint(small_model(TEMPLATES), path)


def test_torchscript_is_rejected_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
        warnings.simplefilter("always")
        with pytest.raises(InputError, match="not a checkpoint that torch can load"):
            load_checkpoint(small_model(TEMPLATES), path)
    assert not caught


def test_code_in_a_pickle_is_not_executed(tmp_path: Path) -> None:
    path, victim = tmp_path / "evil.pth", tmp_path / "victim"
    torch.save({"segnet.conv1.weight": Attack(victim)}, path)
    with pytest.raises(InputError, match="not a checkpoint that torch can load without executing code"):
        load_checkpoint(small_model(TEMPLATES), path)
    path.write_bytes(pickle.dumps(Attack(victim), protocol=2))
    with pytest.raises(InputError, match="not a checkpoint that torch can load without executing code"):
        load_checkpoint(small_model(TEMPLATES), path)
    assert not victim.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_files_that_are_not_checkpoints_are_rejected(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_checkpoint(small_model(TEMPLATES), path)
    else:
        torch.save(small_model(TEMPLATES).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"weights\n", "truncated": content[: len(content) // 2]}[damage])
    with pytest.raises(InputError, match=f"{name}: not a "):
        load_checkpoint(small_model(TEMPLATES), path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ([torch.zeros(1)], "got list"),
        ({}, "got dict"),
        ({"epoch": 3}, "'epoch' is int"),
        ({3: torch.zeros(1)}, "3 is Tensor"),
    ],
)
def test_pickles_of_other_objects_are_rejected(tmp_path: Path, content: Any, got: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"expected a state dict \(names and tensors\), {got}"):
        load_checkpoint(small_model(TEMPLATES), path)


@pytest.mark.parametrize("name", ["model.SAFETENSORS", "model", "model.bin"])
def test_safetensors_may_have_any_name(tmp_path: Path, name: str) -> None:
    model = small_model(TEMPLATES)
    save_checkpoint(model, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    assert_same(load_model(tmp_path / name).state_dict(), model.state_dict())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool])
def test_safetensors_with_numbers_that_are_not_real_are_rejected(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(small_model(TEMPLATES), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    tensors["segnet.conv1.bias"] = tensors["segnet.conv1.bias"].to(dtype)
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=r"of real numbers, segnet\.conv1\.bias is not"):
        load_model(path)


@pytest.mark.parametrize("number", [math.nan, -math.inf])
@pytest.mark.parametrize("key", ["segnet.conv1.bias", "backbone.bn1.running_var", "templates"])
def test_numbers_that_are_not_finite_are_rejected(tmp_path: Path, key: str, number: float) -> None:
    model, path = small_model(TEMPLATES), tmp_path / "model.safetensors"
    if key == "templates":
        model.templates = model.templates.clone()
        model.templates[0, 3, 1] = number
    else:
        model.state_dict()[key][-1] = number
    save_checkpoint(model, path)
    with pytest.raises(InputError, match=f"model.safetensors: expected finite numbers, {key} has others"):
        load_model(path)


@pytest.mark.parametrize("name", ["model.safetensors", "official.pkl"])
def test_negative_variances_are_rejected_and_change_nothing(tmp_path: Path, name: str) -> None:
    model, path = small_model(TEMPLATES), tmp_path / name
    model.convention = "pose2seg"
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.state_dict()["backbone.layer2.0.bn1.running_var"][1] = -0.25
    (save_checkpoint if path.suffix == ".safetensors" else save_official_checkpoint)(model, path)
    model.load_state_dict(before)
    with pytest.raises(
        InputError, match=rf"{name}: backbone.layer2.0.bn1.running_var must be at least 0, got -0.25"
    ):
        load_checkpoint(model, path)
    assert_same(model.state_dict(), before)


def test_numbers_that_are_infinite_in_float32_are_rejected_and_change_nothing(tmp_path: Path) -> None:
    weights = as_official(small_model(TEMPLATES).state_dict())
    weights["segnet.conv1.bias"] = torch.full_like(weights["segnet.conv1.bias"], 1e300, dtype=torch.float64)
    torch.save(weights, tmp_path / "other.pth")
    model = small_model(TEMPLATES)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=r"finite numbers, segnet\.conv1\.bias has others"):
        load_checkpoint(model, tmp_path / "other.pth")
    assert_same(model.state_dict(), before)


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex"])
def test_pickled_tensors_that_are_not_dense_are_rejected(tmp_path: Path, kind: str) -> None:
    dense = small_model(TEMPLATES).state_dict()["backbone.conv1.weight"]
    tensors = {"sparse": dense.to_sparse(), "meta": dense.to("meta"), "complex": dense.to(torch.complex64)}
    path = tmp_path / "other.pth"
    torch.save({"backbone.conv1.weight": tensors[kind]}, path)
    with pytest.raises(InputError, match="expected dense tensors of real numbers, "):
        load_checkpoint(small_model(TEMPLATES), path)


@pytest.mark.parametrize("metadata", [None, {"convention": "other"}])
def test_safetensors_without_a_convention_are_rejected(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(small_model(TEMPLATES).state_dict(), path, metadata)
    with pytest.raises(
        InputError, match='expected metadata "convention" to be one of integer, half_pixel, pose2seg'
    ):
        load_checkpoint(small_model(TEMPLATES), path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_missing_file_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        load_checkpoint(small_model(TEMPLATES), tmp_path / name)


def test_a_folder_is_an_os_error_with_its_name(tmp_path: Path) -> None:
    for path in (tmp_path / "d.safetensors", tmp_path / "d.pth"):
        path.mkdir()
        with pytest.raises(IsADirectoryError) as raised:
            load_checkpoint(small_model(TEMPLATES), path)
        assert raised.value.filename == str(path)


def test_saved_checkpoints_must_be_named_safetensors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path must end in .safetensors, got .*model.pth"):
        save_checkpoint(small_model(TEMPLATES), tmp_path / "model.pth")
