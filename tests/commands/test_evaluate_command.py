import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from file_identity import identity
from known_masks import intricate_model
from people import draw_dataset, write_annotations
from pose2seg import save_checkpoint
from pose2seg.commands import cli
from pose2seg.commands import evaluate as evaluate_command
from pose2seg.common.lock import locked
from pose2seg.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes six images with people, annotations.json and model.safetensors."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "images").mkdir()
    dataset = draw_dataset(folder / "images", (1, 2, 3, 1, 2, 1))
    write_annotations(dataset, folder / "annotations.json")
    save_checkpoint(intricate_model(), folder / "model.safetensors")
    return folder


def arguments(folder: Path, *more: str, **replaced: str) -> list[str]:
    files = {"annotations": "annotations.json", "images": "images", "weights": "model.safetensors"} | replaced
    paths = {name: str(folder / file) for name, file in files.items()}
    return [
        "evaluate",
        paths["annotations"],
        paths["images"],
        "--weights",
        paths["weights"],
        "--device",
        "cpu",
        *more,
    ]


def damaged_copy(folder: Path, to: Path) -> Path:
    """Truncates 3.png of the dataset."""
    shutil.copytree(folder, to)
    image = to / "images/3.png"
    image.write_bytes(image.read_bytes()[:99])
    return to


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_scores_are_printed_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*arguments(folder), "--precision", "float32"]) == 0
    captured = capsys.readouterr()
    titles, scores = captured.out.splitlines()
    assert titles == "    AP    AP50    AP75  AP small  AP medium  AP large  mean IoU"
    dataset = draw_dataset(tmp_path, (1, 2, 3, 1, 2, 1))
    expected = evaluate(intricate_model(), dataset)
    assert scores.split() == ["-" if score != score else f"{score:.4f}" for score in expected.scores.values()]
    assert captured.err.startswith("10 people in 6 images in ")
    assert captured.err.endswith(" s, in float32\n")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".png"] == []


def test_options_choose_the_ranking_and_the_mirrored_images(folder: Path, tmp_path: Path) -> None:
    options = [
        "--precision",
        "float32",
        "--rank-by",
        "quality",
        "--flip",
        "--output",
        str(tmp_path / "report"),
    ]
    assert cli.main(arguments(folder, *options)) == 0
    scores = json.loads((tmp_path / "report/scores.json").read_text())
    assert scores["rank_by"] == "quality"
    model, dataset = intricate_model(), draw_dataset(tmp_path, (1, 2, 3, 1, 2, 1))
    plain = evaluate(model, dataset).mean_iou
    model.flip = True
    flipped = evaluate(model, dataset).mean_iou
    assert plain != pytest.approx(flipped, abs=1e-3)
    assert scores["mean_iou"] == pytest.approx(flipped, abs=1e-4)


def test_two_processes_give_the_result_of_one(folder: Path, tmp_path: Path) -> None:
    folder = damaged_copy(folder, tmp_path / "data")
    one, two = tmp_path / "one", tmp_path / "two"
    main = "import sys, torch; torch.set_num_threads(1); from pose2seg.commands.cli import main; sys.exit(main())"
    runs = []
    for output, torchrun in (
        (one, []),
        (
            two,
            [
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node=2",
                "--no-python",
                sys.executable,
            ],
        ),
    ):
        words = arguments(folder, "--batch-size", "1", "--output", str(output))
        command = [sys.executable, *torchrun, "-c", main, *words]
        runs.append(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300))
    scores = [
        [
            line for line in run.stdout.splitlines() if "[Gloo]" not in line
        ]  # printed by older releases of torch
        for run in runs
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 2
    assert runs[1].stderr.count("9 people in 5 images in ") == 1
    assert runs[1].stderr.count("image 3 is left out") == 1
    assert contents(one) == contents(two)
    assert len(contents(one)) == 3 + 5


def test_two_evaluations_at_once_do_not_share_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    words = arguments(folder, "--output", str(report))
    with locked(report, "taken"):
        assert cli.main(words) == 2
    assert capsys.readouterr().err == f"pose2seg: error: {report}: another evaluation is writing there\n"
    (report / ("." + "0a" * 8)).mkdir()  # left by a killed process
    assert cli.main(words) == 0
    names = sorted(path.name for path in report.iterdir())
    assert names == ["images.csv", "masks.json", "scores.json", "worst"]


def test_poses_from_a_file_are_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = json.loads((folder / "annotations.json").read_text())["annotations"]
    poses = [
        {"image_id": 2, "category_id": 1, "keypoints": person["keypoints"], "score": 0.25}
        for person in annotations
        if person["image_id"] == 2
    ]
    (tmp_path / "poses.json").write_text(json.dumps(poses[:2]))
    words = ["--poses", str(tmp_path / "poses.json"), "--output", str(tmp_path / "report"), "--worst", "1"]
    assert cli.main(arguments(folder, *words)) == 0
    assert capsys.readouterr().out.split()[-1] == "-"
    scores = json.loads((tmp_path / "report/scores.json").read_text())
    assert scores["rank_by"] == "pose"
    assert (scores["images"], scores["people"], scores["predictions"]) == (6, 10, 2)
    masks = json.loads((tmp_path / "report/masks.json").read_text())
    assert [(mask["image_id"], mask["score"]) for mask in masks] == [(2, 0.25)] * 2
    assert [path.name for path in (tmp_path / "report/worst").iterdir()] == ["001.png"]


def test_each_record_that_is_left_out_is_one_line(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = damaged_copy(folder, tmp_path / "data")
    content = json.loads((data / "annotations.json").read_text())
    content["annotations"][1]["segmentation"] = [[1, 2, 3]]
    (data / "annotations.json").write_text(json.dumps(content))
    (data / "images/0.png").unlink()
    assert cli.main(arguments(data)) == 0
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("pose2seg: warning: ") for line in lines[:3])
    assert "annotations[1] (id 100) is left out: " in lines[0]
    assert lines[1].endswith("0.png: no such file; image 0 is left out")
    assert lines[2].endswith("3.png: not an image that OpenCV can read; image 3 is left out")
    assert lines[3].startswith("7 people in 4 images in ")


@pytest.mark.parametrize(
    ("more", "replaced", "message"),
    [
        ([], {"annotations": "no.json"}, "no.json: No such file or directory"),
        ([], {"images": "no"}, "no: no such folder of images"),
        ([], {"weights": "annotations.json"}, "annotations.json: not a checkpoint that torch can load"),
        (["--poses", "no.json"], {}, "no.json: No such file or directory"),
        (["--templates", "no.json"], {}, "no.json: No such file or directory"),
        (["--worst", "0"], {}, "argument --worst: must be an integer from 1 to 999999999, got '0'"),
        (["--output", "{folder}/model.safetensors"], {}, "model.safetensors: must be a folder, got a file"),
        (["--batch-size", "x"], {}, "argument --batch-size: must be an integer from 1"),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    replaced: dict[str, str],
    message: str,
) -> None:
    words = [word.format(folder=folder) for word in more]
    assert cli.main(arguments(folder, *words, **replaced)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pose2seg: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("name", ["masks.json", "scores.json"])
def test_inputs_are_never_replaced(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes((folder / "annotations.json").read_bytes())
    before = identity(path)
    assert cli.main(arguments(folder, "--output", str(tmp_path), annotations=str(path))) == 2
    assert f"{path}: the {path.stem} would replace the input {path}" in capsys.readouterr().err
    assert identity(path) == before


@pytest.mark.parametrize(
    ("in_the_way", "message"),
    [
        ("worst", "worst: must be a folder, got a file"),
        ("masks.json/", "masks.json: must be a file, got a folder"),
        ("scores.json/", "scores.json: must be a file, got a folder"),
        ("worst/002.png/", "002.png: must be a file, got a folder"),
    ],
)
def test_files_in_the_way_of_a_report_are_reported_before_the_work(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_the_way: str,
    message: str,
) -> None:
    if in_the_way.endswith("/"):
        (tmp_path / in_the_way).mkdir(parents=True)
    else:
        (tmp_path / in_the_way).write_text("mine")
    monkeypatch.setattr(evaluate_command, "evaluate", None)
    assert cli.main(arguments(folder, "--output", str(tmp_path))) == 2
    assert message in capsys.readouterr().err


def test_the_scores_are_printed_even_if_the_report_cannot_be_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "masks.json")

    monkeypatch.setattr(evaluate_command, "write_report", fail)
    assert cli.main(arguments(folder, "--output", str(tmp_path))) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].startswith("    AP    AP50")
    assert captured.err.endswith("pose2seg: error: masks.json: No space left on device\n")


def test_help_describes_every_option_and_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    text = capsys.readouterr().out
    for option in ("weights", "templates", "poses", "output", "worst", "device", "batch-size"):
        assert f"--{option} " in text
    for word in ("ochuman_coco_format_val_range_0.00_1.00.json", "torchrun", "(default: 8)", "examples:"):
        assert word in text
