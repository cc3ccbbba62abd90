"""Faults of evaluations, which are stopped and started again."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import stopped
from fault_scene import Fault, Outcome, Scene, drawing, pose

SQUARE = [[2, 2, 20, 2, 20, 30, 2, 30]]


def evaluation(folder: Path) -> tuple[Scene, list[str], dict[str, bytes]]:
    """Returns an evaluation to stop, with an earlier report, and the files that it should write."""
    scene = Scene(folder)
    names = [f"image{i}.png" for i in range(3)]
    for name in names:
        scene.add(name, drawing())
    images = [{"id": i, "file_name": name, "height": 40, "width": 30} for i, name in enumerate(names)]
    person = {"keypoints": pose(), "segmentation": SQUARE, "area": 504, "bbox": [2, 2, 18, 28]}
    people = [{"id": i, "image_id": i, "iscrowd": 0, "category_id": 1, **person} for i in range(3)]
    scene.poses = {"images": images, "annotations": people}
    _, _, _, poses, _, weights, *_ = scene.arguments()
    words = ["evaluate", poses, str(scene.images), "--weights", weights, "--output", str(folder / "report")]
    code, said = scene.command([*words, "--device", "cpu", "--worst", "1"])
    assert code == 0, said
    expected = report(folder)
    (folder / "report/scores.json").write_text("older")
    return scene, [*words, "--device", "cpu", "--worst", "1"], expected


def report(folder: Path) -> dict[str, bytes]:
    """Returns the content of every file of the report, including files that a stop has left."""
    root = folder / "report"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def again(scene: Scene, words: list[str], expected: dict[str, bytes]) -> None:
    code, said = scene.command(words)
    assert code == 0, said
    assert report(scene.folder) == expected


def stopped_by(folder: Path, prepare: stopped.Preparation) -> Outcome:
    """Stops an evaluation: the older report remains, and the same command again writes the new one."""
    scene, words, expected = evaluation(folder)
    code = stopped.run(words, folder / "said", prepare)
    assert report(folder) == {**expected, "scores.json": b"older"}
    again(scene, words, expected)
    said = scene.shortened((folder / "said").read_text())
    return Outcome(code, said, "the older report remains; the same command again writes the new one")


def full_disk() -> None:
    """Makes files fail as on a full disk; the scores are still printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    stopped.limit_file_size(600)  # less than the file of the masks, more than the messages


def killed(folder: Path) -> Outcome:
    scene, words, expected = evaluation(folder)
    for change in range(1, 100):
        kill = partial(stopped.stop_before_change, signal.SIGKILL, change, str(folder / "report"))
        code = stopped.run(words, folder / "said", kill)
        if code == 0:
            break
        assert code == -signal.SIGKILL, (folder / "said").read_text()
        again(scene, words, expected)
    assert 5 < change < 99
    return Outcome("killed", "", "the same command again writes the whole report, and no other file remains")


def wait_until_stopped(process: int) -> None:
    deadline = time.monotonic() + 300
    while Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.002)


def second_one(folder: Path) -> Outcome:
    scene, words, expected = evaluation(folder)
    pause = partial(stopped.stop_before_change, signal.SIGSTOP, 5, str(folder / "report"))
    process = stopped.start(words, folder / "said", pause)
    try:
        wait_until_stopped(process.pid or 0)
        outcome = scene.command(words)
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0
    assert report(folder) == expected
    return Outcome(*outcome, "the first one is not affected")


EVALUATIONS = [
    Fault(
        "`evaluate`: Ctrl-C",
        partial(stopped_by, prepare=partial(stopped.stop_before_change, signal.SIGINT, 5, "report")),
    ),
    Fault(
        "`evaluate`: a full disk, simulated by a limit on the size of files",
        partial(stopped_by, prepare=full_disk),
    ),
    Fault("`evaluate`: kill -9 before every change to a file or folder", killed),
    Fault("`evaluate`: a second evaluation to the same folder while one is running", second_one),
]
