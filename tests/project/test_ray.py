"""Predictions on a real Ray cluster with two workers, compared with `pose2seg predict`."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT
from people import draw_dataset, write_annotations
from pose2seg import InputError, load_templates, save_checkpoint
from pose2seg.commands import cli
from pose2seg.commands.predict import SOME_LEFT_OUT
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.posed_images import find_images
from pose2seg.data.poses import open_poses
from small_model import small_model

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
ray = pytest.importorskip("ray", reason="ray is not installed")
stage = pytest.importorskip("pose2seg.prediction.ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with images, one of which is damaged, poses, a model, and the expected results."""
    folder = tmp_path_factory.mktemp("scene")
    (folder / "images").mkdir()
    images = draw_dataset(folder / "images", counts=(1, 2, 1, 3, 0, 1, 1, 2, 1, 1, 2, 1))
    write_annotations(images, folder / "poses.json")
    (folder / "images" / "5.png").write_bytes(images[5].path.read_bytes()[:200])
    torch.manual_seed(0)
    save_checkpoint(small_model(load_templates()), folder / "model.safetensors")
    words = ["predict", "images", "--poses", "poses.json", "--weights", "model.safetensors"]
    options = ["--output", "expected.json", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*words, *options]) == SOME_LEFT_OUT
    return folder


@pytest.mark.usefixtures("cluster")
def test_no_image_is_lost_or_repeated_if_a_worker_is_killed(scene: Path, tmp_path: Path) -> None:
    class Dying(stage.PredictMasks):  # type: ignore[name-defined]
        """Kills the worker that has processed the third batch, before it returns the results."""

        def __call__(self, rows: Any) -> Any:
            result = super().__call__(rows)
            with (tmp_path / "processed").open("a") as file:
                file.write(f"{os.getpid()} {len(rows)}\n")
            if len((tmp_path / "processed").read_text().splitlines()) >= 3:
                with suppress(FileExistsError):
                    (tmp_path / "killed").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

    images, _ = find_images([scene / "images"], open_poses(scene / "poses.json"))
    stage.image_rows(images).map_batches(
        Dying,
        fn_constructor_args=(images[0].source, scene / "model.safetensors"),
        batch_format="pyarrow",
        batch_size=2,
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.5,  # the rest is for reading and writing
    ).write_parquet(str(tmp_path / "shards"))

    processed = [line.split() for line in (tmp_path / "processed").read_text().splitlines()]
    assert (tmp_path / "killed").exists()
    assert len({process for process, _ in processed}) >= 2
    assert sum(int(rows) for _, rows in processed) > 12  # some results were lost and computed again
    with pytest.warns(DatasetWarning, match=r"5\.png: not an image"):
        prediction = stage.merge_results(tmp_path / "shards", tmp_path / "masks.json", images=12)
    assert prediction == (15, 11, 1, 0, prediction.empty)
    assert (tmp_path / "masks.json").read_bytes() == (scene / "expected.json").read_bytes()


def write_tars(images: list[Path], folder: Path) -> None:
    """Writes images to two WebDataset tars, in which each has a text beside it."""
    for name, members in (("a.tar", images[:7]), ("b.tar", images[7:])):
        with tarfile.open(folder / name, "w") as tar:
            for path in members:
                tar.add(path, path.name)
                text = tarfile.TarInfo(f"{path.stem}.txt")
                text.size = 4
                tar.addfile(text, io.BytesIO(b"text"))


def write_parquet(images: list[Path], folder: Path) -> None:
    columns = {"path": [path.name for path in images], "image": [path.read_bytes() for path in images]}
    parquet.write_table(pyarrow.table(columns), folder / "images.parquet")


@pytest.mark.parametrize("write", [None, write_tars, write_parquet])
def test_the_example_writes_the_file_of_the_command(
    scene: Path, tmp_path: Path, write: Callable[[list[Path], Path], None] | None
) -> None:
    images = scene / "images"
    if write is not None:
        (tmp_path / "input").mkdir()
        write(sorted(images.iterdir()), tmp_path / "input")
        images = tmp_path / "input"
    program = [sys.executable, ROOT / "examples/predict_on_ray.py", images]
    options = ["--poses", scene / "poses.json", "--weights", scene / "model.safetensors", "--workers", 1]
    command = [*map(str, [*program, *options, "--output", tmp_path / "masks.json"])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'masks.json'}: 15 masks of 11 images"
    assert "5.png: not an image that OpenCV can read" in done.stderr
    assert (tmp_path / "masks.json").read_bytes() == (scene / "expected.json").read_bytes()

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert "masks.shards: must not exist" in again.stderr


# Without a cluster


def test_a_sample_of_a_tar_must_have_one_image() -> None:
    sample = {
        "__key__": "a/b",
        "__url__": "c.tar",
        "JPG": b"image",
        "png": None,
        "mask.png": b"",
        "txt": b"x",
    }
    assert stage._sample_row(sample) == {"path": "a/b.JPG", "image": b"image"}
    with pytest.raises(
        InputError, match=r"a/b: a sample must have one image, got 'JPG, png, mask\.png, txt'"
    ):
        stage._sample_row({**sample, "png": b"image"})
    with pytest.raises(InputError, match=r"a/b: a sample must have one image, got 'mask\.png, txt'"):
        stage._sample_row({**sample, "JPG": None})


def shard(path: Path, *rows: tuple[str, list[str], str]) -> None:
    path.parent.mkdir(exist_ok=True)
    names = ("path", "results", "problem")
    table = pyarrow.Table.from_pylist(
        [dict(zip(names, row, strict=True), empty=0) for row in rows], stage._SCHEMA
    )
    parquet.write_table(table, path)


def test_shards_with_a_missing_or_a_repeated_image_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "shards/0.parquet", ("b/10.png", [], ""), ("b/9.png", [], ""))
    shard(tmp_path / "shards/1.parquet", ("a/10.png", [], ""))
    assert stage.merge_results(tmp_path / "shards", tmp_path / "out.json", images=3).images == 3
    with pytest.raises(InputError, match="must have results of 4 images, got 3"):
        stage.merge_results(tmp_path / "shards", tmp_path / "out.json", images=4)
    shard(tmp_path / "shards/2.parquet", ("b/9.png", [], ""))
    with pytest.raises(InputError, match=r"each image once, got b/9\.png twice"):
        stage.merge_results(tmp_path / "shards", tmp_path / "out.json")


def test_shards_without_a_readable_image_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "shards/0.parquet", ("a.png", [], "a.png: not an image that OpenCV can read"))
    with pytest.raises(InputError, match=r"none of the 1 images could be read: a\.png: not an image"):
        stage.merge_results(tmp_path / "shards", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
