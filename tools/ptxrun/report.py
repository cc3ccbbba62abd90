"""The counts and the races of a launch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Access:
    """The counts of one load or store instruction in a launch."""

    text: str
    place: str
    space: str  # global, shared or param
    kind: str  # ld or st
    bytes: int  # per thread
    requests: int = 0  # warps that executed it
    lanes: int = 0  # threads that executed it
    sectors: int = 0  # 32-byte sectors of global memory, counted per request
    wavefronts: int = 0  # passes over shared memory; bank conflicts add some
    fewest_wavefronts: int = 0  # without bank conflicts

    @property
    def efficiency(self) -> float:
        """The bytes of the threads divided by the bytes of the sectors; at most 1, since threads may share
        them."""
        return min(1.0, self.lanes * self.bytes / (32 * self.sectors)) if self.sectors else 0.0

    @property
    def conflict(self) -> float:
        """The slowdown by bank conflicts; 1 means none."""
        return self.wavefronts / self.fewest_wavefronts if self.fewest_wavefronts else 0.0


@dataclass
class Race:
    """Two unordered accesses to one word, at least one of them a write."""

    space: str
    kind: str  # "write, then read", ...
    offset: int  # in bytes, in the shared memory of the block or in the array
    array: str
    first: str  # the thread, or "several threads"
    second: str
    at: str  # the second instruction
    count: int = 1

    def __str__(self) -> str:
        return (
            f"{self.kind} of {self.array} at byte {self.offset} by {self.first} and {self.second} ({self.at})"
        )


@dataclass
class Report:
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    warp_instructions: int = 0
    # Distinct 32-byte sectors of global memory that each block reads, summed over the blocks: what the L2
    # cache delivers if the L1 cache holds all that a block has read until it ends, and nothing of others.
    sectors_read_by_blocks: int = 0
    accesses: list[Access] = field(default_factory=list)
    races: list[Race] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.kernel}: grid {self.grid}, block {self.block}, {self.warp_instructions} warp instructions"
        ]
        for access in self.accesses:
            lines.append(
                f"{access.requests:9} requests, {access.sectors} sectors, {access.wavefronts} wavefronts: "
                f"{access.place}: {access.text}"
            )
        return "\n".join(lines + [f"race: {race}" for race in self.races])
