"""Tests of the emulation itself: it computes what a GPU would, and stops at undefined behaviour."""

import subprocess
from pathlib import Path

import compiled_extensions
import numpy as np
import pytest

THREADS = 96


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("emulation") / "self_test"
    scheduler, kernels = (
        compiled_extensions.EMULATION / "run_grid.cpp",
        compiled_extensions.EMULATION / "self_test.cu",
    )
    launch = compiled_extensions.CSRC / "cuda" / "launch.cu"
    includes = [f"-I{compiled_extensions.EMULATION / 'include'}", f"-I{compiled_extensions.CSRC}"]
    command = [
        "g++",
        "-std=c++17",
        *includes,
        str(scheduler),
        "-x",
        "c++",
        str(kernels),
        str(launch),
        "-o",
        str(path),
    ]
    subprocess.run(command, check=True)
    return path


def run(program: Path, kernel: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, kernel], capture_output=True, text=True, timeout=60)


def test_barriers_order_shared_memory(program):
    expected = np.arange(THREADS)
    for _ in range(3):
        expected = expected + np.roll(expected, 1)
    assert [int(value) for value in run(program, "exchange").stdout.split()] == expected.tolist()


def test_shuffles_stay_within_the_warp(program):
    sums = np.arange(THREADS).reshape(-1, 32).sum(1).repeat(32)
    assert [int(value) for value in run(program, "warp_sum").stdout.split()] == sums.tolist()


@pytest.mark.parametrize(
    "kernel", ["shuffle_with_ended_lanes", "shuffle_without_itself", "barrier_beside_a_shuffle"]
)
def test_undefined_behaviour_ends_the_process(program, kernel):
    result = run(program, kernel)
    assert result.returncode < 0
    assert "cuda_emulation: deadlock" in result.stderr


def test_an_invalid_launch_is_refused(program):
    result = run(program, "too_many_threads")
    assert result.returncode < 0
    assert "CUDA: invalid configuration argument" in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "old_driver",
            "built with CUDA 13.0, and the installed driver supports CUDA 12.4: update the driver",
        ),
        ("other_gpu", "has no kernels for this GPU: build it with TORCH_CUDA_ARCH_LIST"),
    ],
)
def test_the_error_of_an_unsupported_gpu_says_what_to_do(program, error, message):
    result = run(program, error)
    assert result.returncode != 0
    assert message in result.stderr
