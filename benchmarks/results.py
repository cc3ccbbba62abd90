"""Stores measurements as JSON, so that some cases can be measured again without the others."""

import importlib.metadata
import json
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer

from benchmarks.case import OURS, Case
from benchmarks.counts import Counts
from benchmarks.roofline import Work, work_of
from benchmarks.timing import Median, copy_bandwidth, relative_medians, take_turns


@dataclass(frozen=True)
class Measured:
    """The measurements of one case.

    medians: The median times in seconds, by implementation.
    spreads: Half of the range of the middle half of these times, relative to their median.
    ratios: The medians of the times of the other implementations relative to ours.
    work: The work of our op on a GPU, if it is known.
    failure: The reason if the case failed, in which case the other fields are empty.
    """

    medians: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, Median] = field(default_factory=dict)
    work: Work | None = None
    failure: str = ""

    @classmethod
    def of(cls, times: Mapping[str, Sequence[float]], work: Work | None = None) -> "Measured":
        """Summarises the times of each turn."""
        medians = {name: statistics.median(measured) for name, measured in times.items()}
        spreads = {}
        for name, measured in times.items():
            lower, _, upper = statistics.quantiles(measured, method="inclusive")
            spreads[name] = (upper - lower) / 2 / medians[name]
        return cls(medians, spreads, relative_medians(times, OURS), work)


@dataclass(frozen=True)
class Result:
    case: Case
    measured: Measured

    @property
    def ours(self) -> float:
        return self.measured.medians[OURS]

    @property
    def size(self) -> int:
        """The size along the axis of the scale of the case."""
        assert self.case.scale is not None
        return self.case.scale.size

    def targets(self) -> Iterator[tuple[str, bool]]:
        """Yields each target in words and whether it is met; nothing for a failure."""
        if self.measured.failure:
            return
        for name, least in self.case.targets.items():
            yield f"{name} {least:.2f}", self.measured.ratios[name].value >= least
        if self.case.longest is not None:
            yield f"{self.case.longest * 1e6:.0f} \u00b5s", self.ours <= self.case.longest


def series(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Groups results that differ only in size, ordered by size; keys are the axis and the common part of the
    labels."""
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        if (scale := result.case.scale) and not result.measured.failure:
            found[scale.axis, scale.others].append(result)
    return {
        key: sorted(members, key=lambda member: member.size)
        for key, members in found.items()
        if len(members) > 1
    }


@dataclass
class Results:
    """All measurements on one machine.

    copied: The bytes per second that a large copy reads and writes.
    measured: The measurements by the name of the case.
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
        """Reads a file of results. Raises InputError if it is none."""
        try:
            stored = json.loads(path.read_text())
            measured = {name: _as_measured(**one) for name, one in stored.pop("measured").items()}
            return cls(**stored, measured=measured)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} must hold benchmark results, got {error}") from error

    def write(self, path: Path) -> None:
        with atomic_writer(path) as file:
            file.write(json.dumps(asdict(self), indent=1).encode() + b"\n")

    def joined_to(self, earlier: "Results") -> "Results":
        """Returns these results with earlier ones of the same machine added. Raises InputError for another
        machine."""
        if (earlier.machine, earlier.software) != (self.machine, self.software):
            raise InputError(
                f"the earlier results are of {earlier.machine}; {earlier.software}, these of {self.machine}; "
                f"{self.software}: leave out --only, or choose another --output"
            )
        return Results(self.machine, self.software, self.copied, dict(earlier.measured))

    def of(self, cases: Sequence[Case]) -> list[Result]:
        """Returns the results of those cases that were measured with their current implementations."""
        found = [(case, self.measured.get(str(case))) for case in cases]
        return [
            Result(case, measured)
            for case, measured in found
            if measured is not None
            and (measured.failure or measured.medians.keys() == case.implementations.keys())
        ]


def _as_measured(
    medians: dict[str, float],
    spreads: dict[str, float],
    ratios: dict[str, list[float]],
    work: dict[str, Any] | None,
    failure: str,
) -> Measured:
    of_ratios = {name: Median(*ratio) for name, ratio in ratios.items()}
    return Measured(medians, spreads, of_ratios, _as_work(**work) if work else None, failure)


def _as_work(bytes: int, kernels: dict[str, dict[str, float]]) -> Work:
    return Work(bytes, {name: Counts(**counts) for name, counts in kernels.items()})


def measure(case: Case, device: torch.device, seconds: float) -> Measured:
    """Checks that all implementations agree, then times them. A failure is returned as a result."""
    try:
        arguments = case.inputs(device)
        case.check(arguments)
        work = work_of(case.op, arguments, case.implementations[OURS](*arguments))
        times = take_turns(case.implementations, arguments, device, seconds=seconds, relative_to=OURS)
        return Measured.of(times, work)
    except Exception as error:  # an error in one case must not stop the others
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
