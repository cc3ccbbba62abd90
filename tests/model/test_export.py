"""Tests that exported models, run by the code in docs/deploy.md, give the masks of the model."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from exported import COUNTS, arguments, code, decided_model, intersection_over_union, require_same
from golden import load_golden
from golden_model import golden_model
from pose2seg import Pose2Seg, save_checkpoint
from pose2seg.commands import cli
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.export import FORMATS, INPUTS, Core, _reason, export_core, in_standard_operators
from pose2seg.network.model import INPUT_SIZE, Convention
from torch import Tensor
from torch.export import ExportedProgram

import pose2seg_ops
from pose2seg_ops import letterbox, paste_masks

pytestmark = pytest.mark.filterwarnings(  # torch's own warnings
    "ignore::FutureWarning",
    "ignore:No complete tensor:UserWarning",
    "ignore:# The axis name:UserWarning",
    "ignore:.torch.jit:DeprecationWarning",
)
#: The metadata of every file.
ABOUT = {
    "pose2seg_ops_version": pose2seg_ops.__version__,
    "input_size": "512",
    "colour_order": "BGR",
    "joint_names": "nose,left_eye,right_eye,left_ear,right_ear,left_shoulder,right_shoulder,left_elbow,right_elbow,"
    "left_wrist,right_wrist,left_hip,right_hip,left_knee,right_knee,left_ankle,right_ankle",
}


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return decided_model("pose2seg")


@pytest.fixture(scope="module")
def program(model: Pose2Seg) -> ExportedProgram:
    return export_core(model)


def test_the_core_is_the_model_between_letterbox_and_pasting(model: Pose2Seg) -> None:
    images, keypoints, batch_index = arguments(2, 4)
    inputs, _ = letterbox(list(images), INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        logits, matrices = model(inputs, keypoints, batch_index)
        actual = Core(model)(images, keypoints, batch_index)
    expected = logits.softmax(1)[:, 1]
    torch.testing.assert_close(actual, (expected, matrices), rtol=1e-4, atol=1e-4)
    assert 0.1 < (expected > 0.5).double().mean() < 0.9
    assert expected.std() > 0.1


@pytest.mark.parametrize("convention", ["integer", "half_pixel", "pose2seg"])
def test_standard_operators_keep_the_sampling_convention(convention: Convention) -> None:
    model = decided_model(convention)
    standard = in_standard_operators(export_core(model))
    assert not any("pose2seg" in str(node.target) for node in standard.graph.nodes)
    for counts in COUNTS:
        require_same(standard.module()(*arguments(*counts)), Core(model)(*arguments(*counts)))
    model.convention = "integer" if convention == "pose2seg" else "pose2seg"
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        require_same(standard.module()(*arguments(3, 5)), Core(model)(*arguments(3, 5)))


@pytest.fixture(scope="module")
def onnx_model(program: ExportedProgram) -> bytes:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    return FORMATS["onnx"](program)


def test_onnx_gives_the_same_masks(model: Pose2Seg, onnx_model: bytes) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(onnx_model)
    for counts in COUNTS:
        inputs = dict(zip(INPUTS, (tensor.numpy() for tensor in arguments(*counts)), strict=True))
        require_same(session.run(["probabilities", "matrices"], inputs), Core(model)(*arguments(*counts)))


def test_onnx_has_standard_operators_and_names(onnx_model: bytes) -> None:
    import onnx

    content = onnx.load_from_string(onnx_model)
    onnx.checker.check_model(content, full_check=True)
    assert {node.domain for node in content.graph.node} == {""}
    assert not content.functions
    sizes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*content.graph.input, *content.graph.output)
    }
    assert sizes == {
        "images": ["batch", 512, 512, 3],
        "keypoints": ["people", 17, 3],
        "batch_index": ["people"],
        "probabilities": ["people", 64, 64],
        "matrices": ["people", 2, 3],
    }


def test_files_have_metadata_about_their_inputs(
    program: ExportedProgram, onnx_model: bytes, tmp_path: Path
) -> None:
    """The metadata of AOTInductor packages are tested below."""
    import onnx

    assert {each.key: each.value for each in onnx.load_from_string(onnx_model).metadata_props} == ABOUT
    (tmp_path / "core.pt2").write_bytes(FORMATS["torch"](program))
    found = dict.fromkeys(ABOUT, "")
    torch.export.load(tmp_path / "core.pt2", extra_files=found)
    assert found == ABOUT


def test_onnx_gives_the_masks_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares with the model and with the original on its images, by the code of the document."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    monkeypatch.chdir(tmp_path)
    inputs, golden = load_golden("e2e_inputs.npz"), load_golden("e2e.npz")
    model = golden_model(tmp_path)
    core = Core(model)
    Path("pose2seg.onnx").write_bytes(FORMATS["onnx"](export_core(model)))
    for i in range(3):
        cv2.imwrite("image.png", inputs[f"img{i}"])
        np.save("keypoints.npy", inputs[f"kpts{i}"])
        found: dict[str, Any] = {}
        exec(code("python", "InferenceSession"), found)
        expected = core(*map(torch.from_numpy, found["inputs"].values()))
        require_same((found["probabilities"], found["matrices"]), expected)
        of_onnx = pasted(found["probabilities"], found["matrices"], found)
        of_model = pasted(expected[0].numpy(), expected[1].numpy(), found)
        original = golden[f"masks{i}"] > 0
        for onnx, same, ours, theirs in zip(of_onnx, of_model, found["masks"], original, strict=True):
            assert intersection_over_union(onnx, same) >= 0.99
            assert intersection_over_union(ours, theirs) >= 0.985


def pasted(probabilities: npt.NDArray[Any], matrices: npt.NDArray[Any], found: dict[str, Any]) -> Any:
    """Returns the masks in an image that was letterboxed by the code in the document."""
    in_image = torch.from_numpy(matrices @ found["letterbox"]).float()
    batch_index = torch.zeros(len(matrices), dtype=torch.int64)
    size = (found["height"], found["width"])
    (masks,) = paste_masks(torch.from_numpy(probabilities), in_image, batch_index, [size])
    return masks.numpy()


def run_with(tmp_path: Path, snippet: str, inputs: tuple[Tensor, ...]) -> list[npt.NDArray[Any]]:
    """Runs code of the document in another process. Returns its outputs."""
    for name, tensor in zip(INPUTS, inputs, strict=True):
        np.save(tmp_path / f"{name}.npy", tensor.numpy())
    script = (
        f"import numpy, sys\ninputs = {{name: numpy.load(f'{{name}}.npy') for name in {list(INPUTS)}}}\n{snippet}\n"
        "numpy.savez('outputs.npz', probabilities=probabilities, matrices=matrices)\n"
        "print('pose2seg_ops' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout.decode().strip() == str("pose2seg_ops" in snippet)
    with np.load(tmp_path / "outputs.npz") as outputs:
        return [outputs["probabilities"], outputs["matrices"]]


def test_an_exported_program_runs_without_the_model(
    model: Pose2Seg, program: ExportedProgram, tmp_path: Path
) -> None:
    (tmp_path / "pose2seg.pt2").write_bytes(FORMATS["torch"](program))
    outputs = run_with(tmp_path, code("python", "torch.export.load"), arguments(3, 5))
    require_same(outputs, Core(model)(*arguments(3, 5)))


@pytest.fixture(scope="module")
def package(program: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with an AOTInductor package, whose compilation takes a minute."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "pose2seg.pt2").write_bytes(FORMATS["aoti"](program))
    return folder


def test_a_package_of_aotinductor_runs_without_this_package(model: Pose2Seg, package: Path) -> None:
    core = torch._inductor.aoti_load_package(str(package / "pose2seg.pt2"))
    assert ABOUT.items() <= core.get_metadata().items()
    for counts in COUNTS:
        require_same(core(*arguments(*counts)), Core(model)(*arguments(*counts)))
    outputs = run_with(package, code("python", "aoti_load_package"), arguments(3, 5))
    require_same(outputs, Core(model)(*arguments(3, 5)))


def test_a_package_of_aotinductor_runs_in_c_plus_plus(model: Pose2Seg, package: Path) -> None:
    (package / "core.cpp").write_text(code("cpp", "AOTIModelPackageLoader"))
    for name, tensor in zip(INPUTS, arguments(3, 5), strict=True):
        tensor.numpy().tofile(package / f"{name}.bin")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-e", "-c", code("sh", "core.cpp")], cwd=package, check=True, env=environment)
    probabilities = np.fromfile(package / "probabilities.bin", np.float32).reshape(5, 64, 64)
    expected = Core(model)(*arguments(3, 5))
    require_same((probabilities, expected[1]), expected)


@pytest.fixture
def weights(tmp_path: Path, model: Pose2Seg) -> Path:
    save_checkpoint(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def export(weights: Path, *words: str) -> int:
    return cli.main(["export", "--device", "cpu", "--weights", str(weights), *words])


def test_the_command_writes_a_file_and_a_summary(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "core.pt2"
    assert export(weights, "--format", "torch", "--output", str(path)) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(rf"{path}: torch, 2[.][0-9] MB in [0-9.]+ s\n", captured.err)
    assert captured.out == ""
    assert isinstance(torch.export.load(str(path)), ExportedProgram)


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_without_onnx_the_message_says_how_to_install_it(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert export(weights, "--output", str(tmp_path / "core.onnx")) == 2
    error = f"pose2seg: error: {module} is not installed: pip install 'pose2seg_ops[export]'\n"
    assert capsys.readouterr().err == error
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_without_a_compiler_aotinductor_fails_in_one_line(weights: Path, tmp_path: Path) -> None:
    """This needs another process, because torch remembers the compiler that it found first."""
    words = ["export", "--weights", str(weights), "--format", "aoti", "--output", str(tmp_path / "core.pt2")]
    run = [
        sys.executable,
        "-m",
        "pose2seg",
        *words,
    ]
    environment = os.environ | {"CXX": "no-such-compiler"}
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch("pose2seg: error: AOTInductor needs a C\\+\\+ compiler: .*no-such.*\n", done.stderr)
    assert not (tmp_path / "core.pt2").exists()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "a.cpp: In function f:\na.cpp:1:9: error: no f\n   1 | f\ncompilation terminated.\n",
            "a.cpp:1:9: error: no f",
        ),
        ("first\nld returned 1\n", "ld returned 1"),
        ("\n", "no output"),
    ],
)
def test_the_most_informative_line_of_a_compiler_is_shown(output: str, reason: str) -> None:
    assert _reason(output) == reason


def test_a_failing_compiler_is_one_line(weights: Path, tmp_path: Path) -> None:
    compiler = tmp_path / "failing"
    compiler.write_text(
        '#!/bin/sh\nif [ $# -le 2 ]; then exec c++ "$@"; fi\necho c++: disk full >&2; exit 1\n'
    )
    compiler.chmod(0o755)
    words = ["export", "--weights", str(weights), "--format", "aoti", "--output", str(tmp_path / "core.pt2")]
    run = [
        sys.executable,
        "-m",
        "pose2seg",
        *words,
    ]
    environment = os.environ | {"CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    *of_torch, said = done.stderr.splitlines()
    assert said == "pose2seg: error: AOTInductor's C++ compiler has failed: c++: disk full"
    assert all("No CUDA runtime is found" in line for line in of_torch)  # a CUDA build without a GPU
    assert not (tmp_path / "core.pt2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--output", "{weights}"), "{weights}: the exported model would replace the input {weights}"),
        (("--output", "."), ".: must be a file, got a folder"),
        (("--output", "core.onnx", "--format", "keras"), "argument --format: invalid choice: 'keras'"),
        ((), "the following arguments are required: --output"),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line(
    weights: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert export(weights, *(word.format(weights=weights) for word in words)) == 2
    captured = capsys.readouterr().err
    assert captured.startswith(f"pose2seg: error: {message.format(weights=weights)}")
    assert captured.count("\n") == 1
