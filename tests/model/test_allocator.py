"""Tests that freed memory is used again without the help of the system."""

import platform
import subprocess
import sys

import pose2seg.__main__
import pytest

PROGRAM = """
import resource, torch
from pose2seg.common.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (12_000_000, 30_000_000):  # 48 and 120 MB
        torch.ones(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# A small block in between can keep a large one from being used again, but not every time.
without = min(faults() for _ in range(10))
keep_freed_memory()
print(without, min(faults() for _ in range(10)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    without, kept = (int(word) for word in done.stdout.split())
    assert without > 40  # 168 MB, also if they are huge pages
    assert kept < without / 10


def test_the_program_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the program does, not the command line that a process calls as a function."""
    calls: list[str] = []
    monkeypatch.setattr(pose2seg.__main__, "keep_freed_memory", lambda: calls.append("keep"))
    monkeypatch.setattr(pose2seg.__main__, "main", lambda: len(calls))
    assert pose2seg.__main__.program() == 1
    assert calls == ["keep"]
