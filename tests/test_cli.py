import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from file_identity import identity
from pose2seg import InputError, Pose2Seg, cli, load_templates, save_checkpoint
from pose2seg.commands import arguments as shared_arguments
from pose2seg.commands import predict, templates
from pose2seg.poses import Person
from pose2seg.poses.estimators import POSE_ESTIMATORS, EstimatorKind, PoseEstimator
from pose2seg.predict import Prediction

import pose2seg_ops


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that `predict` needs: random weights, a person in 1.png, and 2.png, which poses.json lacks."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "images").mkdir()
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(folder / "images" / name), np.full((40, 30, 3), 90, np.uint8))
    keypoints = [number for j in range(17) for number in (5 + j, 2 * j, 2)]
    (folder / "poses.json").write_text(json.dumps([{"image_id": 1, "keypoints": keypoints, "score": 0.5}]))
    (folder / "templates.json").write_text(json.dumps({"templates": [[0.5, 0.5, 2.0] * 17]}))
    torch.manual_seed(0)
    save_checkpoint(Pose2Seg(load_templates(folder / "templates.json")), folder / "model.safetensors")
    return folder


def arguments(files: Path, *inputs: str, **replaced: str) -> list[str]:
    options = {
        "poses": str(files / "poses.json"),
        "weights": str(files / "model.safetensors"),
        "templates": str(files / "templates.json"),
        "output": str(files / "masks.json"),
        "device": "cpu",
    } | replaced
    paths = [str(files / "images" / name) for name in inputs]
    return ["predict", *paths, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_predict_writes_masks_and_says_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = ["--overlays", str(files / "overlays"), "--report", str(files / "page.html")]
    assert cli.main([*arguments(files, ""), *pictures]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{files}/masks.json: 1 mask from 1 image in ")
    assert captured.err.endswith(f"; 1 skipped that {files}/poses.json does not list\n")
    assert captured.out == ""
    (result,) = json.loads((files / "masks.json").read_text())
    assert (result["image_id"], result["score"], result["segmentation"]["size"]) == (1, 0.5, [40, 30])
    assert [path.name for path in (files / "overlays").iterdir()] == ["1.png"]
    assert "1 photograph \N{MIDDLE DOT} 1 person" in (files / "page.html").read_text("utf-8")


def test_the_command_tells_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"pose2seg {pose2seg_ops.__version__}\n"


@pytest.mark.parametrize(
    ("inputs", "replaced", "message"),
    [
        (("1.png", "no.png"), {}, "images/no.png: no such file or folder"),
        (("2.png",), {}, "images/2.png: the poses do not list this image"),
        (("1.png",), {"poses": "no.json"}, "no.json: No such file or directory"),
        (
            ("1.png",),
            {"poses": "."},
            ".: expected a folder of OpenPose's .json or YOLO's .txt files, got neither",
        ),
        (("1.png",), {"templates": "no.json"}, "no.json: No such file or directory"),
        (("1.png",), {"weights": "no.pth"}, "no.pth: No such file or directory"),
        (("1.png",), {"weights": "no.safetensors"}, "no.safetensors: No such file or directory"),
        (("1.png",), {"weights": __file__}, "test_cli.py: not a checkpoint that torch can load"),
        (("1.png",), {"output": "."}, ".: is a folder, expected the name of a file"),
        (("1.png",), {"report": "."}, ".: is a folder, expected the name of a file"),
        (("1.png",), {"overlays": __file__}, "test_cli.py: is a file, expected a folder"),
        (
            ("1.png",),
            {"output": "a\0b"},
            r"argument --output: must be a path, which holds no NUL byte, got 'a\x00b'",
        ),
        (
            ("1.png",),
            {"output": "folder/"},
            "argument --output: folder/ is the name of a folder, expected that of a file",
        ),
        (("1.png",), {"report": "folder/"}, "argument --report: folder/ is the name of a folder"),
        (("1.png",), {"output": "x" * 5000}, f"{'x' * 5000}: File name too long"),
        (("1.png",), {"device": "gpu"}, "--device must be auto, cpu, cuda or cuda:N, got gpu"),
        (("1.png",), {"device": "meta"}, "--device must be auto, cpu, cuda or cuda:N, got meta"),
        (
            ("1.png",),
            {"batch-size": "0"},
            "argument --batch-size: must be an integer from 1 to 999999999, got '0'",
        ),
        (("1.png",), {"batch-size": "9" * 5000}, "must be an integer from 1 to 999999999, got '999"),
        (("1.png",), {"threshold": "nan"}, "argument --threshold: must be a number from 0 to 1, got 'nan'"),
        ((), {}, "the following arguments are required: IMAGE_OR_FOLDER"),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_exit_code_2(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    inputs: tuple[str, ...],
    replaced: dict[str, str],
    message: str,
) -> None:
    assert cli.main(arguments(files, *inputs, **replaced)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pose2seg: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("option", ["poses", "weights", "templates"])
def test_inputs_are_never_replaced(files: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    words = arguments(files, "1.png")
    path = Path(words[words.index(f"--{option}") + 1])
    before = identity(path)
    assert cli.main(arguments(files, "1.png", output=str(path))) == 2
    assert capsys.readouterr().err == (f"pose2seg: error: {path}: the masks would replace the input {path}\n")
    assert identity(path) == before


def test_the_templates_are_those_of_the_weights_unless_given(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Pose2Seg] = []

    def note(model: Pose2Seg, *_: object, **__: object) -> Prediction:
        models.append(model)
        return Prediction(masks=0, images=0, left_out=0, done_before=0)

    monkeypatch.setattr(predict, "predict_to_file", note)
    (tmp_path / "other.json").write_text(json.dumps({"templates": [[0.25, 0.75, 1.0] * 17]}))
    words = arguments(files, "1.png", templates=str(tmp_path / "other.json"))
    at = words.index("--templates")
    assert cli.main(words[:at] + words[at + 2 :]) == 0
    assert cli.main(words) == 0
    assert [model.templates[0, 0].tolist() for model in models] == [[0.5, 0.5, 2], [0.25, 0.75, 1]]


def test_official_weights_want_their_templates(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "official.pkl"
    torch.save({"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    words = arguments(files, "1.png", weights=str(path))
    at = words.index("--templates")
    assert cli.main(words[:at] + words[at + 2 :]) == 2
    assert f"{path}: holds no pose templates, and none were given" in capsys.readouterr().err


def test_poses_come_from_a_pose_estimator(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made_for(device: torch.device, joint_threshold: float) -> PoseEstimator:
        thresholds.append(joint_threshold)
        return lambda image: [Person(np.array([[5, 5, 2]] * 17, np.float32), score=0.25)]

    thresholds: list[float] = []
    monkeypatch.setitem(POSE_ESTIMATORS, "keypoint-rcnn", EstimatorKind(made_for, joint_threshold=3.0))
    words = arguments(files, "")
    at = words.index("--poses")
    words[at : at + 2] = ["--pose-estimator", "keypoint-rcnn"]
    assert cli.main(words) == 0
    assert capsys.readouterr().err.startswith(f"{files}/masks.json: 2 masks from 2 images in ")
    results = json.loads((files / "masks.json").read_text())
    assert [(result["image_id"], result["score"]) for result in results] == [(1, 0.25), (2, 0.25)]
    assert cli.main([*words, "--joint-threshold", "-1.5"]) == 0
    assert thresholds == [3.0, -1.5]


@pytest.mark.parametrize(("inputs", "absent"), [("", True), ("1.png", False)])
def test_images_of_the_poses_that_are_not_found_are_counted(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], inputs: str, absent: bool
) -> None:
    poses = json.loads((files / "poses.json").read_text())
    poses += [{**poses[0], "image_id": name} for name in ("gone", "gone too", "2")]
    (tmp_path / "poses.json").write_text(json.dumps(poses))
    assert cli.main(arguments(files, inputs, poses=str(tmp_path / "poses.json"))) == 0
    assert capsys.readouterr().err.endswith("; 2 images of the poses not found\n") == absent


def test_the_masks_can_go_to_the_standard_output(files: Path) -> None:
    words = arguments(files, "1.png", output="/dev/stdout")
    run = [sys.executable, "-c", "import sys; from pose2seg.cli import main; sys.exit(main())", *words]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert [result["image_id"] for result in json.loads(done.stdout)] == [1]
    assert done.stderr.startswith("/dev/stdout: 1 mask from 1 image in ")


def in_a_shell(redirection: str, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its standard streams as the shell makes them."""
    main = [sys.executable, "-c", "import sys; from pose2seg.cli import main; sys.exit(main())"]
    script = f"set -o pipefail; {shlex.join([*main, *words])} {redirection}"
    run = ["bash", "-c", script]
    return subprocess.run(run, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("redirection", ["2>&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
def test_a_standard_error_that_takes_nothing_does_not_keep_the_work_from_being_done(
    files: Path, tmp_path: Path, redirection: str
) -> None:
    done = in_a_shell(redirection, arguments(files, "1.png", output=str(tmp_path / "masks.json")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [result["image_id"] for result in json.loads((tmp_path / "masks.json").read_text())] == [1]


def test_an_error_keeps_its_exit_code_where_nobody_is_told(files: Path) -> None:
    assert in_a_shell("2>/dev/full", arguments(files, "no.png")).returncode == 2


def demo(files: Path, tmp_path: Path, picture: str = "picture.png") -> list[str]:
    """A command that prints, which needs matplotlib."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    return ["demo", "--weights", str(files / "model.safetensors"), "--output", str(tmp_path / picture)]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_standard_output_that_is_full_is_told_by_its_name(
    files: Path, tmp_path: Path, unbuffered: str
) -> None:
    done = in_a_shell(">/dev/full", demo(files, tmp_path), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (
        2,
        "pose2seg: error: standard output: No space left on device\n",
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(files: Path, tmp_path: Path, unbuffered: str) -> None:
    done = in_a_shell("| true", demo(files, tmp_path), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_name_that_the_encoding_lacks_is_printed_escaped(files: Path, tmp_path: Path) -> None:
    done = in_a_shell("", demo(files, tmp_path, "写真.png"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path}/\\u5199\\u771f.png: a mask of ")
    assert (tmp_path / "写真.png").exists()


@pytest.mark.parametrize(
    ("kernels", "gpus", "expected"),
    [("13.0", 1, "cuda"), ("13.0", 0, "cpu"), (None, 1, "cpu"), (None, 0, "cpu")],
)
def test_the_device_is_cuda_where_there_are_a_gpu_and_kernels_for_it(
    monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int, expected: str
) -> None:
    pretend(monkeypatch, kernels, gpus)
    assert shared_arguments.find_device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    ("kernels", "gpus", "name", "message"),
    [
        (
            None,
            1,
            "cuda",
            "--device cuda: pose2seg_ops is built without CUDA kernels; build it where nvcc is on PATH",
        ),
        ("13.0", 0, "cuda", "--device cuda: torch sees 0 CUDA devices"),
        ("13.0", 2, "cuda:2", "--device cuda:2: torch sees 2 CUDA devices"),
    ],
)
def test_a_device_that_is_not_there_is_told_why(
    monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int, name: str, message: str
) -> None:
    pretend(monkeypatch, kernels, gpus)
    with pytest.raises(InputError) as raised:
        shared_arguments.find_device(name)
    assert str(raised.value) == message


def pretend(monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int) -> None:
    """As if pose2seg_ops were built with the `kernels` of a CUDA version, on a machine with `gpus` GPUs."""
    monkeypatch.setattr(shared_arguments, "CUDA_VERSION", kernels)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def exhaust_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    "exhaust",
    [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, np.uint8), exhaust_a_gpu],
    ids=["torch on the CPU", "numpy", "torch on a GPU"],
)
def test_a_lack_of_memory_is_one_line(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    exhaust: Callable[[], object],
) -> None:
    monkeypatch.setattr(predict, "predict_to_file", lambda *_, **__: exhaust())
    assert cli.main(arguments(files, "1.png")) == 2
    assert capsys.readouterr().err == "pose2seg: error: out of memory: try a smaller --batch-size\n"


def test_a_lack_of_memory_names_no_option_that_the_command_lacks(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "read_annotated_people", lambda _: exhaust_a_gpu())
    assert cli.main(["templates", str(files / "poses.json"), "--output", str(files / "t.json")]) == 2
    assert capsys.readouterr().err == "pose2seg: error: out of memory\n"


def test_our_own_mistakes_are_not_hidden(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(predict, "predict_to_file", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        cli.main(arguments(files, "1.png"))


def test_malformed_json_is_located(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "poses.json"
    path.write_text('[\n{"image_id": 1,}]')
    assert cli.main(arguments(files, "1.png", poses=str(path))) == 2
    assert f"{path}: not JSON: " in (error := capsys.readouterr().err)
    assert "at line 2, column " in error


def test_a_damaged_image_is_one_line(files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "1.png"
    path.write_bytes((files / "images" / "1.png").read_bytes()[:20])
    assert cli.main([*arguments(files), str(path)]) == 2
    assert capfd.readouterr().err == f"pose2seg: error: {path}: not an image that OpenCV can read\n"


def test_interruption_is_exit_code_130(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_to_file", interrupt)
    assert cli.main(arguments(files, "1.png")) == 130


@pytest.mark.parametrize(("ignored", "code"), [(False, -signal.SIGINT), (True, 0)])
def test_interruption_of_the_imports_says_nothing(tmp_path: Path, ignored: bool, code: int) -> None:
    """Unless it is ignored, as in the background."""
    (tmp_path / "pose2seg.py").write_text(
        "import os, signal, types\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "cli = types.SimpleNamespace(main=lambda: signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)\n"
    )
    main = (
        "import sys; sys.path[:0] = sys.argv[1:]; import pose2seg_command; sys.exit(pose2seg_command.main())"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        done = subprocess.run(
            [sys.executable, "-c", main, str(tmp_path), *sys.path], capture_output=True, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (code, "")


def test_help_names_every_option_and_its_default() -> None:
    run = [sys.executable, "-c", "from pose2seg.cli import main; main()", "predict", "--help"]
    help_text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    text = " ".join(help_text.split())
    for option in (
        "poses",
        "pose-estimator",
        "weights",
        "templates",
        "output",
        "overlays",
        "report",
        "device",
        "batch-size",
        "threshold",
        "resume",
    ):
        assert f"--{option} " in text
    assert "(default: 4)" in text
    assert "(default: 0.5)" in text
    assert "examples:" in text
