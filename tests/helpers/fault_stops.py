"""Faults of predictions that are stopped and resumed."""

import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import stopped
from fault_scene import Fault, Outcome, Scene, drawing, pose
from pose2seg.common.images import write_png


def started(folder: Path, *more: str, images: int = 8) -> tuple[Scene, dict[str, str]]:
    """Returns a prediction to stop, and its results without a stop."""
    scene = Scene(folder)
    for i in range(images):
        scene.add(f"image{i}.png", drawing(40 + i, 30))
    code, said = scene.predict(*more)
    assert code == 0, said
    expected = scene.results()
    remove_results(scene)
    return scene, expected


def remove_results(scene: Scene) -> None:
    for path in (scene.output, scene.page):
        path.unlink(missing_ok=True)


def killed_at_random(folder: Path) -> Outcome:
    scene, expected = started(folder)
    words, said = scene.arguments("--resume"), folder / "said"
    for _ in range(2):  # the first run also starts the process that forks the others
        scene.output.unlink(missing_ok=True)
        start = time.perf_counter()
        assert stopped.run(words, said) == 0
    seconds, randomly, killed = time.perf_counter() - start, random.Random(0), 0
    while killed < 20:
        scene.output.unlink(missing_ok=True)
        done = stopped.finished_images(scene.output)
        process = stopped.start(words, said)
        time.sleep(randomly.uniform(0, seconds))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        assert scene.output.exists() or stopped.finished_images(scene.output) >= done
        assert not scene.output.exists() or scene.results() == expected
    scene.resume(expected)
    return Outcome(
        "killed",
        "",
        "20 times; `--resume` writes the file of a run without stops, and no image is processed twice",
    )


def killed_at_every_change(folder: Path) -> Outcome:
    report = "--report", str(folder / "page.html")
    scene, expected = started(folder, *report, images=3)
    words, said = scene.arguments("--resume", *report), folder / "said"
    for change in range(1, 100):
        remove_results(scene)
        code = stopped.run(
            words, said, partial(stopped.stop_before_change, signal.SIGKILL, change, str(folder))
        )
        if code == 0:
            break
        assert code == -signal.SIGKILL, said.read_text()
        assert scene.results().items() <= expected.items()
        scene.resume(expected, *report)
    assert 12 < change < 99
    return Outcome("killed", "", "the same, also with `--report`, and no other file remains")


def before_image(stop: signal.Signals, number: int) -> stopped.Preparation:
    """Returns a preparation that stops a prediction before the journal records an image."""
    return partial(stopped.stop_before_change, stop, number, ".jsonl")


def interrupted(folder: Path) -> Outcome:
    scene, expected = started(folder)
    code = stopped.run(scene.arguments(), folder / "said", before_image(signal.SIGINT, 3))
    assert 0 < len(stopped.finished_images(scene.output)) < 8
    scene.resume(expected)
    return Outcome(code, scene.shortened((folder / "said").read_text()), "`--resume` continues")


def second_one(folder: Path) -> Outcome:
    scene, expected = started(folder, images=3)
    process = stopped.start(scene.arguments(), folder / "said", before_image(signal.SIGSTOP, 2))
    try:
        wait_for_images(scene, 1)
        outcome = scene.predict("--resume")
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0
    assert scene.results() == expected
    return Outcome(*outcome, "the first one is not affected")


def wait_for_images(scene: Scene, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(stopped.finished_images(scene.output)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def full_disk(folder: Path) -> Outcome:
    scene, expected = started(folder)
    limit = len(expected["masks.json"]) // 2
    code = stopped.run(scene.arguments(), folder / "said", partial(stopped.limit_file_size, limit))
    (journal,) = (folder / "masks.json.unfinished").glob("*.jsonl")
    assert journal.stat().st_size == limit
    assert 0 < len(stopped.finished_images(scene.output)) < 8
    scene.resume(expected)
    return Outcome(code, scene.shortened((folder / "said").read_text()), "`--resume` continues")


def full_device(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    code, said = scene.predict("--output", "/dev/full")
    return Outcome(code, said, "")


def after_one(folder: Path, *begun: str) -> tuple[Scene, dict[str, str]]:
    """Returns a prediction that was killed after the first of three images, and its expected results."""
    scene, expected = started(folder, *begun, images=3)
    kill = before_image(signal.SIGKILL, 2)
    assert stopped.run(scene.arguments(*begun), folder / "said", kill) == -signal.SIGKILL
    assert stopped.finished_images(scene.output) == {"image0"}
    return scene, expected


def stopped_before(
    folder: Path, *resumed: str, begun: tuple[str, ...] = (), moved: str | None = None
) -> tuple[int, str]:
    """Returns the exit code and the messages if a prediction is resumed in another way, or without a file."""
    scene, expected = after_one(folder, *begun)
    if moved is not None:
        (folder / moved).rename(folder / "overlays")
    outcome = scene.predict(*resumed)
    assert stopped.finished_images(scene.output) == {"image0"}
    if moved is not None:
        (folder / "overlays").rename(folder / moved)
    scene.resume(expected, *begun)
    return outcome


def other_folder_of_poses(folder: Path) -> Outcome:
    (folder / "openpose").mkdir()
    people = {"people": [{"pose_keypoints_2d": [*pose(), 5, 5, 1]}]}
    for i in range(3):
        (folder / "openpose" / f"image{i}.json").write_text(json.dumps(people))
    poses = "--poses", str(folder / "openpose")
    outcome = stopped_before(folder, "--resume", *poses, begun=poses, moved="openpose/image2.json")
    return Outcome(*outcome, "nothing is lost")


def image_gone(folder: Path, name: str) -> Outcome:
    outcome = stopped_before(folder, "--resume", moved=f"images/{name}.png")
    return Outcome(*outcome, "nothing is lost; `--resume` continues when it is back")


def lock_gone(folder: Path) -> Outcome:
    scene, expected = after_one(folder)
    (folder / "masks.json.unfinished/lock").unlink()
    return Outcome(0, scene.resume(expected), "it continues")


def image_replaced(folder: Path) -> Outcome:
    scene, _ = after_one(folder)
    write_png(scene.images / "image0.png", drawing(20, 20))
    code, said = scene.predict("--resume")
    assert scene.sizes()["image0"] == [20, 20]
    return Outcome(code, said, "it is processed again")


def overlay_gone(folder: Path) -> Outcome:
    overlays = folder / "overlays"
    scene, expected = after_one(folder, "--overlays", str(overlays))
    (overlays / "image0.png").unlink()
    code, said = scene.predict("--resume", "--overlays", str(overlays))
    assert scene.results() == expected
    assert len(list(overlays.iterdir())) == 3
    return Outcome(code, said, "it is written again")


def other_overlays(folder: Path) -> Outcome:
    begun = "--overlays", str(folder / "overlays")
    outcome = stopped_before(folder, "--resume", "--overlays", str(folder / "others"), begun=begun)
    return Outcome(*outcome, "nothing is lost")


def processes_killed(folder: Path) -> Outcome:
    report = "--report", str(folder / "page.html")
    scene, expected = started(folder, *report)
    port = stopped.free_port()
    processes = [
        stopped.start(
            scene.arguments(*report),
            folder / "said",
            partial(stopped.one_of_two_that_stops, rank, port, 2, ".jsonl"),
        )
        for rank in range(2)
    ]
    try:
        wait_for_images(scene, 2)
    finally:  # otherwise Python would wait for them
        for process in processes:
            process.kill()
            process.join()
    assert len(stopped.finished_images(scene.output)) < 8
    scene.resume(expected, *report)
    return Outcome("killed", "", "one process continues with `--resume`, and writes the same files")


STOPS = [
    Fault("kill -9 at random moments", killed_at_random),
    Fault("kill -9 before every change to a file or folder", killed_at_every_change),
    Fault("kill -9 of two processes under torchrun, with `--report`", processes_killed),
    Fault("Ctrl-C", interrupted),
    Fault("a full disk, simulated by a limit on the size of files", full_disk),
    Fault("a full device", full_device),
    Fault("a second prediction to the same output while one is running", second_one),
    Fault(
        "started again without --resume", lambda folder: Outcome(*stopped_before(folder), "nothing is lost")
    ),
    Fault(
        "resumed with another threshold",
        lambda folder: Outcome(*stopped_before(folder, "--resume", "--threshold", "0.25"), "nothing is lost"),
    ),
    Fault(
        "resumed with another joint threshold",
        lambda folder: Outcome(
            *stopped_before(folder, "--resume", "--joint-threshold", "0"), "nothing is lost"
        ),
    ),
    Fault("resumed with another folder of overlays", other_overlays),
    Fault("resumed with other files in the folder of poses", other_folder_of_poses),
    Fault("resumed without a finished image", partial(image_gone, name="image0")),
    Fault("resumed without an unfinished image", partial(image_gone, name="image2")),
    Fault("resumed without the lock file", lock_gone),
    Fault("resumed with a finished image replaced by another", image_replaced),
    Fault("resumed without an overlay that was written", overlay_gone),
]
