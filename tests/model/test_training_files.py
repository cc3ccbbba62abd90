"""Tests of the files of a training, and that it can be stopped at any time."""

import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from people import draw_dataset
from pose2seg import InputError, Pose2Seg, load_model
from pose2seg.common import distributed
from pose2seg.common.gone import GoneError, version_of
from pose2seg.data.dataset import DatasetWarning, PersonImage
from pose2seg.evaluation.average_precision import AveragePrecision
from pose2seg.evaluation.evaluate import Evaluation, evaluate
from pose2seg.training import make_model, train
from pose2seg.training.loader import Batch
from pose2seg.training.log import Log
from pose2seg.training.state import load_state, save_state
from pose2seg.training.trainer import Trainer
from stopped import file_size_limit
from tiny_training import TEMPLATES, TINY, assert_same_training, rows, train_tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def images(tmp_path: Path) -> list[PersonImage]:
    (tmp_path / "images").mkdir()
    return draw_dataset(tmp_path / "images", (1, 2, 3, 1, 2))


def test_the_written_recipe_says_which_precision_was_chosen(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    train_tiny(images, tmp_path, replace(TINY, precision="auto", epochs=1))
    assert json.loads((tmp_path / "recipe.json").read_text())["precision"] == "float32"


def test_a_training_writes_its_files(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "run", validation=images[:2])
    output = tmp_path / "run"
    assert sorted(path.name for path in output.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "losses.csv",
        "metrics.csv",
        "recipe.json",
        "state.pt",
    ]
    losses = rows(output / "losses.csv")
    assert [int(row["step"]) for row in losses] == [1, 2, 3, 4, 5, 6]
    assert {float(row["learning_rate"]) for row in losses} == {1e-3}
    metrics = rows(output / "metrics.csv")
    assert [(row["step"], row["epoch"]) for row in metrics] == [("3", "1"), ("6", "2")]
    model = load_model(output / "last.safetensors")
    assert model.architecture == TINY.architecture
    scores = evaluate(model, images[:2]).scores
    assert scores == pytest.approx({name: float(metrics[-1][name]) for name in scores}, nan_ok=True)
    assert json.loads((output / "recipe.json").read_text())["learning_rate"] == 1e-3


def test_the_best_model_is_kept(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([math.nan, 0.5, 0.5, 0.2, 0.3])
    seen = []

    def evaluate(model: Pose2Seg, validation: Sequence[PersonImage]) -> Evaluation:
        assert not model.training
        assert len(validation) == 1
        seen.append(model.segnet.conv1.weight.detach().clone())
        return Evaluation(AveragePrecision(next(scores), 0, 0, 0, 0, 0), 0, [], "pose")

    monkeypatch.setattr(sys.modules[train.__module__], "evaluate", evaluate)
    train_tiny(images, tmp_path, replace(TINY, epochs=5), validation=images[:1])
    assert torch.equal(load_model(tmp_path / "best.safetensors").segnet.conv1.weight, seen[1])
    assert torch.equal(load_model(tmp_path / "last.safetensors").segnet.conv1.weight, seen[4])


def test_without_validation_images_there_is_no_best_model(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "run")
    assert not (tmp_path / "run/best.safetensors").exists()
    assert (tmp_path / "run/metrics.csv").read_text() == ""


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("stop", "precision"),
    [(1, "float32"), (3, "float32"), (4, "float32"), (5, "float32"), (6, "float32"), (5, "float16")],
)
def test_a_stopped_training_resumes_bit_for_bit(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, precision: Any
) -> None:
    recipe = replace(TINY, precision=precision)
    options: dict[str, Any] = {"save_every": 2, "validation": images[:2]}
    train_tiny(images, tmp_path / "whole", recipe, **options)
    take_step = Trainer.step

    def stop_after(self: Trainer, batch: Batch) -> torch.Tensor:
        loss = take_step(self, batch)
        if self.steps == stop:
            raise Stopped
        return loss

    monkeypatch.setattr(Trainer, "step", stop_after)
    with pytest.raises(Stopped):
        train_tiny(images, tmp_path / "stopped", recipe, **options)
    monkeypatch.setattr(Trainer, "step", take_step)
    torch.manual_seed(99)
    train_tiny(images, tmp_path / "stopped", recipe, resume=True, **options)
    assert_same_training(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 6])
def test_ctrl_c_stops_a_training_after_the_step_and_keeps_its_state(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    train_tiny(images, tmp_path / "whole", validation=images[:2])
    take_step = Trainer.step

    def interrupted(self: Trainer, batch: Batch) -> torch.Tensor:
        if self.steps + 1 == stop:
            signal.raise_signal(signal.SIGINT)
        return take_step(self, batch)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(images, tmp_path / "stopped", validation=images[:2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert torch.load(tmp_path / "stopped/state.pt", weights_only=True)["state"]["steps"] == stop
    monkeypatch.setattr(Trainer, "step", take_step)
    train_tiny(images, tmp_path / "stopped", validation=images[:2], resume=True)
    assert_same_training(tmp_path / "stopped", tmp_path / "whole")


def test_a_stopped_evaluation_is_repeated(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(images, tmp_path / "whole", validation=images[:2])
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[train.__module__], "evaluate", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_tiny(images, tmp_path / "stopped", validation=images[:2])
    assert rows(tmp_path / "stopped/metrics.csv") == []
    train_tiny(images, tmp_path / "stopped", validation=images[:2], resume=True)
    assert_same_training(tmp_path / "stopped", tmp_path / "whole")


def test_more_epochs_follow_the_schedule_of_the_new_number(images: list[PersonImage], tmp_path: Path) -> None:
    recipe = replace(TINY, schedule="cosine")
    train_tiny(images, tmp_path, recipe)
    train_tiny(images, tmp_path, replace(recipe, epochs=4), resume=True)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "losses.csv")]
    expected = [0.5e-3 * (1 + math.cos(math.pi * i / 6)) for i in range(6)]
    expected += [0.5e-3 * (1 + math.cos(math.pi * i / 12)) for i in range(6, 12)]
    assert rates == pytest.approx(expected)
    with pytest.raises(
        InputError, match=rf"^epochs must be at least 4, which {tmp_path} has done or begun, got 3"
    ):
        train_tiny(images, tmp_path, replace(recipe, epochs=3), resume=True)


def test_a_finished_training_does_not_change(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "run", validation=images[:2])
    shutil.copytree(tmp_path / "run", tmp_path / "before")
    train_tiny(images, tmp_path / "run", validation=images[:2], resume=True)
    assert_same_training(tmp_path / "run", tmp_path / "before")


# Dies in the middle of a write, of a state or a model, when the total exceeds a number of bytes.
KILLED = """
import io, os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from people import draw_dataset
from tiny_training import TEMPLATES, TINY, assert_same, assert_same_training, rows, train_tiny
import tiny_training

tiny_training.torch.set_num_threads(1)
bytes_left = int(sys.argv[2])

class Deadly(io.BufferedWriter):
    def write(self, content):
        global bytes_left
        bytes_left -= len(content)
        if bytes_left < 0:
            super().write(content[: len(content) // 2])
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(content)

open_file = Path.open
def open_deadly(path, mode="r", *args, **kwargs):
    return Deadly(io.FileIO(path, "w")) if mode == "wb" else open_file(path, mode, *args, **kwargs)
Path.open = open_deadly

folder = Path(sys.argv[1])
images = draw_dataset(folder / "images", (1, 2, 3, 1, 2))
tiny_training.train_tiny(images, folder / "killed", save_every=1, validation=images[:2], resume=True)
"""


def run_killed(folder: Path, bytes_left: int) -> None:
    command = [sys.executable, "-c", KILLED, str(folder), str(bytes_left), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr


def test_kill_9_in_the_middle_of_a_write_loses_nothing(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "whole", save_every=1, validation=images[:2])
    state = (tmp_path / "whole/state.pt").stat().st_size
    for bytes_left in (state // 2, state + 1000, 3 * state):
        run_killed(tmp_path, bytes_left)
    train_tiny(images, tmp_path / "killed", save_every=1, validation=images[:2], resume=True)
    assert_same_training(tmp_path / "killed", tmp_path / "whole")
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert names == {path.name for path in (tmp_path / "whole").iterdir()}


def test_a_state_that_cannot_be_written_is_reported_with_its_name(tmp_path: Path) -> None:
    """The last state must remain."""
    path = tmp_path / "state.pt"
    save_state(path, {"steps": 1}, TINY, {})
    with file_size_limit(10**6), pytest.raises(OSError, match=r"File too large: '.*state.pt'"):
        save_state(path, {"weights": torch.zeros(10**6)}, TINY, {})
    assert list(tmp_path.iterdir()) == [path]
    assert load_state(path, TINY, {}) == {"steps": 1}


def test_a_row_that_cannot_be_written_is_reported_with_its_name(tmp_path: Path) -> None:
    log = Log(tmp_path, resume_from=None, tensorboard=False)
    log.add_loss(1, 0.5, 1e-3)
    with (
        file_size_limit((tmp_path / "losses.csv").stat().st_size),
        pytest.raises(OSError, match=r"File too large: '.*losses.csv'"),
    ):
        log.add_loss(2, 0.25, 1e-3)


def test_curves_are_written_for_tensorboard_on_request(images: list[PersonImage], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_tiny(images, tmp_path, validation=images[:1], tensorboard=True)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for file, names in (("losses.csv", ("loss", "learning_rate")), ("metrics.csv", ("ap", "mean_iou"))):
        for name in names:
            drawn = [(event.step, event.value) for event in curves.Scalars(name)]
            assert drawn == [
                (int(row["step"]), pytest.approx(float(row[name]))) for row in rows(tmp_path / file)
            ]


def test_a_missing_tensorboard_is_reported_at_once(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        InputError, match=r"TensorBoard cannot be imported \(.*\): pip install 'pose2seg_ops\[train\]'"
    ):
        train_tiny(images, tmp_path, tensorboard=True)


def test_a_training_is_not_replaced(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(InputError, match="run: contains a training run: resume it, or choose another folder"):
        train_tiny(images, tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("name", ["last.safetensors", "losses.csv"])
def test_a_training_without_its_state_is_not_replaced(
    images: list[PersonImage], tmp_path: Path, name: str
) -> None:
    train_tiny(images, tmp_path / "whole")
    (tmp_path / "run").mkdir()
    shutil.copy(tmp_path / "whole" / name, tmp_path / "run")
    before = (tmp_path / "run" / name).read_bytes()
    with pytest.raises(InputError, match="run: contains a training run: resume it, or choose another folder"):
        train_tiny(images, tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == {name: before}


def test_a_training_without_its_state_is_not_restarted(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "run")
    state = tmp_path / "run/state.pt"
    state.rename(tmp_path / "moved")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(
        InputError, match=r"state.pt: is gone: put it back to resume, or choose another folder"
    ):
        train_tiny(images, tmp_path / "run", resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    (tmp_path / "moved").rename(state)
    train_tiny(images, tmp_path / "run", resume=True)


def test_a_training_that_was_stopped_before_its_first_state_starts_again(
    images: list[PersonImage], tmp_path: Path
) -> None:
    train_tiny(images, tmp_path / "whole", validation=images[:2])
    (tmp_path / "run").mkdir()
    header, first, *_ = (tmp_path / "whole/losses.csv").read_text().splitlines(keepends=True)
    (tmp_path / "run/losses.csv").write_text(header + first)
    train_tiny(images, tmp_path / "run", validation=images[:2], resume=True)
    assert_same_training(tmp_path / "run", tmp_path / "whole")


def test_a_training_without_rows_is_ignored(images: list[PersonImage], tmp_path: Path) -> None:
    Log(tmp_path / "run", resume_from=None, tensorboard=False)
    train_tiny(images, tmp_path / "run")


def test_two_trainings_at_once_do_not_share_a_folder(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = Trainer.step
    refused = []

    def try_another_one(self: Trainer, batch: Batch) -> torch.Tensor:
        monkeypatch.setattr(Trainer, "step", take_step)
        for resume in (False, True):
            with pytest.raises(InputError) as raised:
                train_tiny(images, tmp_path / "run", resume=resume)
            refused.append(str(raised.value))
        return take_step(self, batch)

    monkeypatch.setattr(Trainer, "step", try_another_one)
    train_tiny(images, tmp_path / "run")
    assert refused == [f"{tmp_path}/run: another training run is writing there"] * 2
    assert [int(row["step"]) for row in rows(tmp_path / "run/losses.csv")] == [1, 2, 3, 4, 5, 6]


def test_the_convention_and_templates_of_the_weights_are_recorded(
    images: list[PersonImage], tmp_path: Path
) -> None:
    def model(convention: Any = "pose2seg") -> Pose2Seg:
        model = make_model(TINY, TEMPLATES)
        model.convention = convention  # as `load_checkpoint` sets it
        return model

    train(model(), images, TINY, tmp_path, workers=0)
    assert json.loads((tmp_path / "recipe.json").read_text())["convention"] == "pose2seg"
    train(model(), images, TINY, tmp_path, workers=0, resume=True)
    with pytest.raises(
        InputError, match=r"state.pt: convention has changed from 'pose2seg' to 'integer' since"
    ):
        train(model("integer"), images, TINY, tmp_path, workers=0, resume=True)
    other = model()
    other.templates = other.templates / 2
    with pytest.raises(InputError, match=r"state.pt: the templates have changed since"):
        train(other, images, TINY, tmp_path, workers=0, resume=True)


def test_processes_that_do_not_share_the_folder_are_reported(
    images: list[PersonImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(images, tmp_path)
    monkeypatch.setattr(distributed, "gather", lambda found: [found, False])
    with pytest.raises(InputError, match=r"state.pt: must be in a folder that all processes share"):
        train_tiny(images, tmp_path, resume=True)


def test_damaged_rows_do_not_prevent_resuming(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path)
    path = tmp_path / "losses.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"\0\0\xff\n7")
    train_tiny(images, tmp_path, resume=True)
    assert path.read_bytes() == before


def test_a_training_only_resumes_with_the_same_recipe(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path)
    for changes, message in (
        ({"learning_rate": 2e-3}, "learning_rate has changed from 0.001 to 0.002"),
        ({"people": 5}, "people has changed from 4 to 5"),
    ):
        with pytest.raises(InputError, match=rf"state.pt: {message} since it was written"):
            train_tiny(images, tmp_path, replace(TINY, **changes), resume=True)
    with pytest.raises(InputError, match=r"state.pt: the number of images has changed from 5 to 4 since"):
        train_tiny(images[:4], tmp_path, resume=True)


def test_a_training_only_resumes_with_the_same_images(images: list[PersonImage], tmp_path: Path) -> None:
    """The folder of the images may change."""
    versions = [replace(image, version=[100 + i, 0]) for i, image in enumerate(images)]
    train_tiny(versions, tmp_path / "run", validation=versions[:1])
    first, *others = versions
    person = first.people[0]
    moved, larger = person.keypoints + 1, (*person.box[:3], person.box[3] + 1)
    other_mask = replace(person, segmentation=others[0].people[0].segmentation)
    for changed in (
        replace(first, path=first.path.with_name("other.png")),
        replace(first, version=[99, 0]),
        replace(first, size=(97, 128)),
        replace(first, people=[replace(person, keypoints=moved)]),
        replace(first, people=[replace(person, box=larger)]),
        replace(first, people=[other_mask]),
    ):
        with pytest.raises(InputError, match=r"state.pt: the images have changed since"):
            train_tiny([changed, *others], tmp_path / "run", validation=versions[:1], resume=True)
    with pytest.raises(InputError, match=r"state.pt: the images have changed since"):
        train_tiny(versions[::-1], tmp_path / "run", validation=versions[:1], resume=True)
    with pytest.raises(InputError, match=r"state.pt: the validation images have changed since"):
        train_tiny(versions, tmp_path / "run", validation=versions[:2], resume=True)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    elsewhere = [
        replace(image, path=tmp_path / "elsewhere" / image.path.name, version=[100 + i, 1])
        for i, image in enumerate(images)
    ]
    train_tiny(elsewhere, tmp_path / "run", validation=elsewhere[:1], resume=True)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("validated", [False, True])
def test_a_missing_image_stops_a_training_that_can_be_resumed(
    images: list[PersonImage], tmp_path: Path, workers: int, validated: bool
) -> None:
    found = [replace(image, version=version_of(image.path)) for image in images]
    data, validation = (found[:3], found[3:]) if validated else (found, found[:1])
    train_tiny(data, tmp_path / "whole", validation=validation)
    lost, kept = found[4].path, found[4].path.read_bytes()
    lost.unlink()
    message = (
        rf"^{lost}: No such file or directory, although it was there when the run began: put it back, and "
    )
    with pytest.raises(GoneError, match=message):
        train_tiny(data, tmp_path / "run", validation=validation, save_every=1, workers=workers)
    lost.write_bytes(kept)
    train_tiny(data, tmp_path / "run", validation=validation, resume=True)
    assert_same_training(tmp_path / "run", tmp_path / "whole")


def test_rows_have_a_header_if_the_file_was_removed(tmp_path: Path) -> None:
    log = Log(tmp_path, resume_from=None, tensorboard=False)
    log.add_loss(1, 0.5, 1e-3)
    (tmp_path / "losses.csv").unlink()
    log.add_loss(2, 0.25, 1e-3)
    assert rows(tmp_path / "losses.csv") == [{"step": "2", "loss": "0.25", "learning_rate": "0.001"}]


# A worker dies after a number of batches, which may be 0.
WORKER_KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import torch
from people import draw_dataset
from pose2seg import InputError
from pose2seg.training.loader import TrainingSamples
from tiny_training import TINY, train_tiny

torch.set_num_threads(1)
batches_left = int(sys.argv[2])
get = TrainingSamples.__getitems__

def get_and_die(self, draws):
    global batches_left
    batches_left -= 1
    if batches_left < 0 and torch.utils.data.get_worker_info():
        os.kill(os.getpid(), signal.SIGKILL)
    return get(self, draws)

TrainingSamples.__getitems__ = get_and_die
folder = Path(sys.argv[1])
images = draw_dataset(folder / "images", (1, 2, 3, 1, 2))
try:
    train_tiny(images, folder / "killed", save_every=1, workers=2, validation=images[:2], resume=True)
except InputError as error:
    print(error)
"""


def test_a_killed_worker_is_reported_and_loses_nothing(images: list[PersonImage], tmp_path: Path) -> None:
    train_tiny(images, tmp_path / "whole", validation=images[:2])
    for batches_left in (0, 2):
        command = [sys.executable, "-c", WORKER_KILLED, str(tmp_path), str(batches_left), *sys.path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout.startswith("a worker that decodes images was killed, probably because memory, or")
        assert done.stdout.endswith("ran out: use fewer workers, and resume\n")
        # The error can interrupt an import of torch, which logs that in lines of its own and goes on.
        assert not any(line.startswith("Traceback") for line in done.stderr.splitlines())
        assert done.returncode == 0
    train_tiny(images, tmp_path / "killed", validation=images[:2], resume=True)
    assert_same_training(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("content", [b"", b"state", None])
def test_a_file_that_is_not_a_state_is_rejected(
    images: list[PersonImage], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"state.pt: not the state of a training run"):
        train_tiny(images, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_training_before_it_is_saved(
    images: list[PersonImage], tmp_path: Path
) -> None:
    recipe = replace(TINY, learning_rate=1e30, epochs=4)
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step \d+: try a smaller learning rate"):
        train_tiny(images, tmp_path, recipe, save_every=1)
    state = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    assert all(math.isfinite(float(row["loss"])) for row in rows(tmp_path / "losses.csv"))
    assert state["steps"] == len(rows(tmp_path / "losses.csv"))


def test_images_that_cannot_be_read_are_reported_once(images: list[PersonImage], tmp_path: Path) -> None:
    images[1].path.write_bytes(b"damaged")
    with pytest.warns(DatasetWarning) as caught:
        train_tiny(images, tmp_path / "run")
    problem = f"{images[1].path}: not an image that OpenCV can read; image 1 is left out"
    assert [str(warning.message) for warning in caught if warning.category is DatasetWarning] == [problem]
