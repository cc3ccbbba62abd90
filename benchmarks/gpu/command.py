"""Runs the steps of a command one after the other, within a time limit."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.record import Record

_LIMIT = 460.0  # seconds for all steps: a command has ten minutes, which include the installation


class Skipped(Exception):
    """Ends a step that cannot run here; the message is the reason."""


@dataclass
class Run:
    """What a step needs.

    device: The GPU, or the CPU in a rehearsal on a machine that has none.
    rehearsal: Whether a step should run only its first and smallest case.
    end: The reading of time.monotonic() at which steps should stop.
    """

    record: Record
    device: torch.device
    rehearsal: bool
    end: float

    @property
    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def cases(self, cases: Sequence[Any]) -> Sequence[Any]:
        """Returns the cases to run: all, or one in a rehearsal."""
        return cases[:1] if self.rehearsal else cases

    def seconds(self, wanted: float) -> float:
        """Returns the seconds to measure for: `wanted`, or 0 in a rehearsal, in which a few runs suffice."""
        return 0 if self.rehearsal else wanted

    def require_gpu(self, what: str) -> None:
        """Raises Skipped if there is no GPU."""
        if self.device.type != "cuda":
            raise Skipped(f"{what} needs a GPU")

    def require_time(self) -> None:
        """Raises Skipped if the time limit has passed."""
        if self.seconds_left <= 0:
            raise Skipped("the time limit of the command has passed")


Step = Callable[[Run], None]


def main(name: str, description: str | None, steps: Sequence[Step]) -> None:
    """Parses the arguments of the command and runs its steps. Exits with 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog=f"benchmarks/gpu/run {name}", description=description)
    parser.add_argument("folder", type=Path, help="the folder of the results")
    parser.add_argument(
        "--rehearse", action="store_true", help="run one small case of each step, also without a GPU"
    )
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    if not (has_gpu or options.rehearse):
        sys.exit(f"benchmarks/gpu/run {name}: torch found no GPU")
    device = torch.device("cuda" if has_gpu else "cpu")
    run = Run(Record(options.folder, name), device, options.rehearse, time.monotonic() + _LIMIT)
    sys.exit(not all([attempt(step, run) for step in steps]))


def attempt(step: Step, run: Run) -> bool:
    """Runs a step and records how it ended. Returns False if it failed, without raising its error."""
    name, start = step.__name__, time.monotonic()
    outcome, reason = "passed", ""
    try:
        run.require_time()
        step(run)
    except Skipped as skipped:
        outcome, reason = "skipped", str(skipped)
    except Exception as error:  # an error in one step must not stop the others
        outcome, reason = "failed", f"{type(error).__name__}: {error}"
        traceback.print_exc()
    seconds = round(time.monotonic() - start, 1)
    text = f"{outcome} in {seconds} s" + (f", {reason}" if reason else "")
    run.record.add(name, text, outcome=outcome, reason=reason, seconds=seconds)
    run.record.archive()
    return outcome != "failed"
