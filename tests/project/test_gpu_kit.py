"""Tests of benchmarks/gpu without a GPU: rehearsals of its commands, and the parts that read what programs write."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pose2seg
import pytest
import torch
from paths import ROOT

import pose2seg_ops
from benchmarks.gpu import prepare, replay
from benchmarks.gpu.command import Run, Skipped, attempt, main
from benchmarks.gpu.counters import in_words, read
from benchmarks.gpu.programs import execute
from benchmarks.gpu.record import Record
from benchmarks.gpu.run_lengths import split

CPU = torch.device("cpu")

# Rehearsals


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Returns a checkout without kernels, and the environment of a new Python that has our packages but this one."""
    if sys.version_info < (3, 11):
        pytest.skip("benchmarks/gpu/run needs PYTHONSAFEPATH of Python 3.11")
    folder = tmp_path_factory.mktemp("machine")
    ignored = shutil.ignore_patterns(".*", "build", "shared", "__pycache__", "*.so")
    checkout = shutil.copytree(ROOT, folder / "checkout", ignore=ignored)
    (checkout / "build" / "gpu").mkdir(parents=True)
    write_wheel(checkout / "build" / "gpu")
    venv.create(folder / "python", with_pip=True, symlinks=True)
    packages = folder / "python" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return checkout, environment | {"PATH": f"{folder / 'python' / 'bin'}:/usr/bin:/bin"}


def write_wheel(folder: Path) -> None:
    """Writes a wheel of the packages that are imported here, in place of one that takes minutes to compile."""
    with zipfile.ZipFile(folder / "pose2seg_ops-0.1.0-py3-none-any.whl", "w") as wheel:
        for package in (pose2seg_ops, pose2seg):
            top = Path(str(package.__file__)).parent
            for path in top.rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    wheel.write(path, path.relative_to(top.parent))
        about = "pose2seg_ops-0.1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pose2seg_ops\nVersion: 0.1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


NEEDS_A_GPU = {
    "correctness": ["tests", "memcheck", "racecheck", "synccheck", "initcheck"],
    "speed": ["training"],
    "why": ["programs", "counters"],
}


@pytest.mark.parametrize("command", NEEDS_A_GPU)
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_rehearsal_runs_all_steps_but_those_on_a_gpu(
    machine: tuple[Path, dict[str, str]], command: str, tmp_path: Path
) -> None:
    checkout, environment = machine
    words = [str(checkout / "benchmarks" / "gpu" / "run"), command, str(tmp_path), "--rehearse"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / command / "results.jsonl").read_text().splitlines()]
    outcomes = {line["step"]: line["outcome"] for line in lines if "outcome" in line}
    assert [step for step, outcome in outcomes.items() if outcome == "skipped"] == NEEDS_A_GPU[command]
    assert set(outcomes.values()) <= {"passed", "skipped"}
    assert all(line["reason"] for line in lines if line.get("outcome") == "skipped")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_command_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["why", str(tmp_path)])
    with pytest.raises(SystemExit, match="benchmarks/gpu/run why: torch found no GPU"):
        main("why", "", [])


def test_without_a_wheel_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    copied = tmp_path / "benchmarks" / "gpu"
    copied.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks" / "gpu" / "run", copied)
    done = subprocess.run([copied / "run", "why", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("build/gpu has no wheel of this package: run benchmarks.gpu.prepare\n")


# Steps


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Record(tmp_path, "why"), CPU, rehearsal=False, end=time.monotonic() + 60)


def results(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.record.log("results.jsonl").read_text().splitlines()]


def test_the_outcome_of_a_step_is_recorded(run: Run) -> None:
    def fails(run: Run) -> None:
        raise ValueError("no luck")

    def is_skipped(run: Run) -> None:
        run.require_gpu("a warp")

    def passes(run: Run) -> None:
        run.record.add("passes", "as a text", value=1)

    assert [attempt(step, run) for step in (fails, is_skipped, passes)] == [False, True, True]
    found = [(line.get("outcome"), line.get("reason")) for line in results(run)]
    assert found == [
        ("failed", "ValueError: no luck"),
        ("skipped", "a warp needs a GPU"),
        (None, None),
        ("passed", ""),
    ]


def test_the_archive_has_what_was_recorded_up_to_the_last_step(run: Run, tmp_path: Path) -> None:
    attempt(lambda run: run.record.add("early", "text", value=1), run)
    run.record.add("late", "text", value=2)
    with tarfile.open(tmp_path / "why.tar.gz") as archive:
        file = archive.extractfile("why/results.jsonl")
        assert file is not None
        assert b"early" in (stored := file.read())
        assert b"late" not in stored


def test_no_step_starts_after_the_end(run: Run) -> None:
    run.end = time.monotonic() - 1
    assert attempt(lambda run: pytest.fail("it was started"), run)
    assert results(run)[0]["reason"] == "the time limit of the command has passed"


def test_a_program_ends_with_the_time_and_keeps_its_output(run: Run) -> None:
    run.end = time.monotonic() + 1
    with pytest.raises(subprocess.TimeoutExpired):
        execute(run, ["bash", "-c", "echo started; sleep 60"], "log")
    assert run.record.log("log").read_text() == "started\n"
    with pytest.raises(Skipped, match="no-such-program is not installed"):
        execute(run, ["no-such-program"], "log")


# What programs write

NCU = """affine_align-N=32
==PROF== Profiling "align_planes" - 0: 0%....100% - 9 passes
"ID","Process ID","Kernel Name","gpu__time_duration.sum","dram__bytes_read.sum","smsp__average_warps_issue_stalled_wait_per_issue_active.ratio","smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio"
"","","","ns","byte","inst","inst"
"0","17","void pose2seg::(anonymous namespace)::paste<float>(Params)","1,250","4096","0.5","2.25"
"""


def test_counters_are_read_from_the_output_of_ncu() -> None:
    ((kernel, values),) = read(NCU.splitlines())
    assert kernel == "void pose2seg::(anonymous namespace)::paste<float>(Params)"
    assert values["gpu__time_duration.sum"] == 1250
    assert in_words(kernel, values) == (
        "void pose2seg::paste<float>, 1250 ns, 4096 B read, waits 2.25 barrier, waits 0.50 wait"
    )
    assert list(read(["==ERROR== no permission"])) == []


def test_the_time_of_run_lengths_is_divided() -> None:
    events = [("count", 2.0), ("Memcpy DtoH (Device -> Pageable)", 3.0), ("pose2seg_ops::encode_rle", 50.0)]
    assert split(10.0, events) == {"whole": 10.0, "kernels": 2.0, "copies": 3.0, "host": 5.0}


# Replay


def test_a_replay_takes_turns_between_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake graph only records which calls were captured."""
    calls: list[int] = []
    captured: list[int] = []

    class Graph:
        def replay(self) -> None:
            calls.extend(captured)

    @contextmanager
    def capture(graph: Graph, stream: object) -> Iterator[None]:
        before = len(calls)
        yield
        captured.extend(calls[before:])
        del calls[before:]

    def alternate(implementations: Any, *_: Any, seconds: float) -> dict[str, float]:
        implementations["replay"]()
        return {"replay": 6.0}

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(replay, "alternate", alternate)
    assert replay.seconds_of_replay(calls.append, [(1,), (2,), (3,)], CPU, 0.1) == 2.0
    assert calls == [1, 1, 2, 3]  # the first was run before the capture


# Preparation


def test_a_wheel_is_built_for_one_architecture_with_line_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, env, check: started.append((command, env)))
    prepare.build_wheel("9.0")
    ((command, environment),) = started
    assert command[1:5] == ["-m", "pip", "wheel", "--no-deps"]
    assert environment["TORCH_CUDA_ARCH_LIST"] == "9.0"
    assert environment["NVCC_APPEND_FLAGS"].split()[-1] == "-lineinfo"


def test_golden_data_are_collected_if_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "KIT", tmp_path / "kit")
    prepare.copy_golden_data(tmp_path / "golden")
    assert "golden is missing: the tests that need it will be skipped" in capsys.readouterr().err
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "e2e.npz").touch()
    prepare.copy_golden_data(tmp_path / "golden")
    assert (tmp_path / "kit" / "shared" / "golden" / "e2e.npz").exists()


def test_what_is_copied_must_be_small(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(bytes(3 << 20))
    assert prepare.check_size([tmp_path / "small"]).endswith("with the checkout 3.0 MiB")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(61 << 20)
    with pytest.raises(SystemExit, match="must have at most 60 MiB, got 61"):
        prepare.check_size([tmp_path / "large"])
