"""Faults of files that disappear while a prediction uses them."""

import json
from functools import partial
from pathlib import Path

import stopped
from fault_scene import Fault, Outcome, Scene, pose
from fault_stops import started


def move(folder: Path, names: list[str], to: str) -> None:
    """Moves files to another folder."""
    (folder / to).mkdir(exist_ok=True)
    for name in names:
        (folder / name).rename(folder / to / Path(name).name)


def predict_without(scene: Scene, names: list[str], *more: str) -> Outcome:
    """Runs a prediction in which files are moved away when four images are finished."""
    scene.output.write_text("older")
    away = partial(move, scene.folder, names, "away")
    prepare = partial(stopped.before_change, away, 5, ".jsonl")
    code = stopped.run(scene.arguments(*more), scene.folder / "said", prepare)
    said = scene.shortened((scene.folder / "said").read_text())
    assert scene.output.read_text() == "older"
    return Outcome(code, said, "the older output remains; `--resume` continues when they are back")


def put_back(scene: Scene, names: list[str]) -> None:
    for name in names:
        (scene.folder / "away" / Path(name).name).rename(scene.folder / name)
    (scene.folder / "away").rmdir()


def images(folder: Path) -> Outcome:
    scene, expected = started(folder)
    names = [f"images/image{i}.png" for i in (6, 7)]
    outcome = predict_without(scene, names)
    put_back(scene, names)
    scene.resume(expected)
    return outcome


def poses(folder: Path) -> Outcome:
    (folder / "openpose").mkdir()
    people = {"people": [{"pose_keypoints_2d": [*pose(), 5, 5, 1]}]}
    for i in range(8):
        (folder / "openpose" / f"image{i}.json").write_text(json.dumps(people))
    more = "--poses", str(folder / "openpose")
    scene, expected = started(folder, *more)
    names = [f"openpose/image{i}.json" for i in (6, 7)]
    outcome = predict_without(scene, names, *more)
    put_back(scene, names)
    scene.resume(expected, *more)
    return outcome


def overlays(folder: Path) -> Outcome:
    more = "--overlays", str(folder / "overlays")
    scene, expected = started(folder, *more)
    outcome = predict_without(scene, [f"overlays/image{i}.png" for i in (0, 1)], *more)
    code, said = scene.predict("--resume", *more)
    assert (code, scene.results()) == (0, expected), said
    assert len(list((folder / "overlays").iterdir())) == 8
    return outcome._replace(result="the older output remains; `--resume` writes them again")


def journal(folder: Path) -> Outcome:
    scene, expected = started(folder)
    scene.output.write_text("older")
    remove = partial(remove_lines, folder / "masks.json.unfinished")
    prepare = partial(stopped.before_change, remove, 5, ".jsonl")
    code = stopped.run(scene.arguments(), folder / "said", prepare)
    assert scene.output.read_text() == "older"
    said = scene.shortened((folder / "said").read_text())
    scene.resume(expected)
    return Outcome(code, said, "the older output remains; `--resume` processes these images again")


def remove_lines(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        path.unlink()


GONE = [
    Fault("images that disappear, such as on a lost network drive", images),
    Fault("poses that disappear from their folder", poses),
    Fault("overlays that are removed during a prediction", overlays),
    Fault("files of the journal that are removed during a prediction", journal),
]
