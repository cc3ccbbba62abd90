"""What was measured, kept as JSON: a section can be measured again without the others."""

import importlib.metadata
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer

from benchmarks.contest import OURS, Contest
from benchmarks.roofline import Work, work_of
from benchmarks.timing import alternate, copy_bandwidth


@dataclass(frozen=True)
class Measured:
    """One contest.

    medians: seconds, by contender.
    work: what our op asks of a GPU, where that is known.
    failure: why there is nothing else here.
    """

    medians: Mapping[str, float] = field(default_factory=dict)
    work: Work | None = None
    failure: str = ""


@dataclass(frozen=True)
class Result:
    contest: Contest
    measured: Measured

    @property
    def ours(self) -> float:
        return self.measured.medians[OURS]

    @property
    def size(self) -> int:
        """Along the axis of the contest's scale."""
        assert self.contest.scale is not None
        return self.contest.scale.size

    def bars(self) -> Iterator[tuple[str, bool]]:
        """Each bar in words, and whether it is reached; none where there is nothing but a failure."""
        if self.measured.failure:
            return
        for name, least in self.contest.bars.items():
            yield f"{name} {least:.2f}", self.measured.medians[name] / self.ours >= least
        if self.contest.longest is not None:
            yield f"{self.contest.longest * 1e6:.0f} \u00b5s", self.ours <= self.contest.longest


def series(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results that differ in one size alone, in its order: by its axis, and by what they share."""
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        if (scale := result.contest.scale) and not result.measured.failure:
            found[scale.axis, scale.others].append(result)
    return {
        key: sorted(members, key=lambda member: member.size)
        for key, members in found.items()
        if len(members) > 1
    }


@dataclass
class Results:
    """All that was measured on one machine.

    copied: bytes a second that a large copy reads and writes.
    measured: by the name of the contest.
    """

    machine: str
    software: str
    copied: float
    measured: dict[str, Measured] = field(default_factory=dict)

    @classmethod
    def on(cls, device: torch.device) -> "Results":
        version = importlib.metadata.version("pose2seg_ops")
        software = f"pose2seg_ops {version}, torch {torch.__version__}"
        return cls(machine(device), software, copy_bandwidth(device))

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Raises InputError where that is no such file."""
        try:
            stored = json.loads(path.read_text())
            measured = {name: _as_measured(**one) for name, one in stored.pop("measured").items()}
            return cls(**stored, measured=measured)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} holds no results of benchmarks: {error}") from error

    def write(self, path: Path) -> None:
        with atomic_writer(path) as file:
            file.write(json.dumps(asdict(self), indent=1).encode() + b"\n")

    def joined_to(self, earlier: "Results") -> "Results":
        """With the results of earlier runs on the same machine; raises InputError for another's."""
        if (earlier.machine, earlier.software) != (self.machine, self.software):
            raise InputError(
                f"the earlier results are of {earlier.machine}; {earlier.software}, these of {self.machine}; "
                f"{self.software}: leave out --only, or choose another --output"
            )
        return Results(self.machine, self.software, self.copied, dict(earlier.measured))

    def of(self, contests: Sequence[Contest]) -> list[Result]:
        """Those of the contests that were measured, with the contenders that they have now."""
        found = [(contest, self.measured.get(str(contest))) for contest in contests]
        return [
            Result(contest, measured)
            for contest, measured in found
            if measured is not None
            and (measured.failure or measured.medians.keys() == contest.contenders.keys())
        ]


def _as_measured(medians: dict[str, float], work: dict[str, Any] | None, failure: str) -> Measured:
    return Measured(medians, Work(**work) if work else None, failure)


def measure(contest: Contest, device: torch.device, seconds: float) -> Measured:
    """Checks that all contenders agree, then times them; a failure is a result as well."""
    try:
        arguments = contest.inputs(device)
        contest.check(arguments)
        work = work_of(contest.op, arguments, contest.contenders[OURS](*arguments))
        return Measured(alternate(contest.contenders, arguments, device, seconds=seconds), work)
    except Exception as error:  # whatever a rival raises, the other contests go on
        return Measured(failure=f"{type(error).__name__}: {error}".partition("\n")[0])


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
