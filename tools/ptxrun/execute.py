"""Executes several blocks of threads at once; all threads at the same basic block execute together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ptxrun.arithmetic import Value
from ptxrun.kernel import Frame, Kernel
from ptxrun.memory import Device, Memory, RaceCheck, count_global, count_shared, find_fault
from ptxrun.parse import PtxError
from ptxrun.report import Access

Array = np.ndarray
Sides = tuple[int, int, int]

MAX_STEPS = 1_000_000  # maximum number of basic blocks per batch; more are taken for an endless loop
UNINITIALISED = 0xFF  # fills shared memory; NaN as a float


def coordinates(number: int, sides: Sides) -> Sides:
    return number % sides[0], number // sides[0] % sides[1], number // (sides[0] * sides[1])


class Batch:
    """A batch of blocks. Threads are numbered over the batch; each block of threads starts with a new
    warp."""

    def __init__(
        self,
        kernel: Kernel,
        device: Device,
        parameters: Memory,
        grid: Sides,
        block: Sides,
        blocks: range,
        accesses: list[Access],
        races: RaceCheck,
    ) -> None:
        self.kernel, self.device, self.parameters = kernel, device, parameters
        self.grid, self.block, self.accesses, self.races = grid, block, accesses, races
        self.warp_instructions = 0
        self._sectors_read: list[Array] = []  # of global memory, with the block in the upper bits
        self.padded = padded_threads(block)
        self.first_thread = blocks.start * self.padded  # in the numbering of the launch
        self.size = len(blocks) * self.padded
        numbers = np.arange(self.size)
        self.block_of = numbers // self.padded
        thread, block_number = numbers % self.padded, self.block_of + blocks.start
        self.alive = thread < math.prod(block)
        self.registers: dict[str, Value] = {}
        self._special: dict[str, Value] = {}
        for axis, thread_index, block_index in zip(
            "xyz",
            np.unravel_index(thread % math.prod(block), block[::-1])[::-1],
            np.unravel_index(block_number, grid[::-1])[::-1],
            strict=True,
        ):
            self._special[f"tid.{axis}"] = thread_index.astype(np.uint32)
            self._special[f"ctaid.{axis}"] = block_index.astype(np.uint32)
        for name, sides in (("ntid", block), ("nctaid", grid)):
            self._special |= {
                f"{name}.{axis}": np.uint32(side) for axis, side in zip("xyz", sides, strict=True)
            }
        self.shared_stride = -(-max(kernel.shared_bytes, 1) // 16) * 16
        self.shared = Memory(
            "shared memory", np.full(len(blocks) * self.shared_stride, UNINITIALISED, np.uint8)
        )
        self.barriers = np.zeros(len(blocks), np.int64)  # number of barriers that each block has passed
        self.warp_barriers = np.zeros(self.size // 32, np.int64)

    def special(self, name: str, threads: Array) -> Value:
        if name not in self._special:
            raise PtxError(f"unsupported special register: %{name}")
        value = self._special[name]
        return value if value.ndim == 0 else value[threads]

    # Control flow.

    def run(self) -> None:
        waiting: dict[int, list[Array]] = {0: [np.flatnonzero(self.alive)]}  # groups before each basic block
        at_barrier: list[tuple[int, Array, Value | None]] = []
        for _ in range(MAX_STEPS):
            if not waiting and not at_barrier:
                return
            if not waiting:
                self._pass_barrier(at_barrier, waiting)
                at_barrier = []
            number, threads = self._next_group(waiting)
            block = self.kernel.blocks[number]
            predicate = self._execute(number, threads)
            if block.end is None:
                self._go(waiting, block.successors[0].order, threads)
            elif block.end.name == "bar":
                at_barrier.append((number, threads, predicate))
            elif block.end.name == "ret":
                self.alive[threads] = False
            elif predicate is None:
                self._go(waiting, block.successors[0].order, threads)
            else:
                taken = np.broadcast_to(predicate, len(threads))
                for successor, group in zip(block.successors, (threads[taken], threads[~taken]), strict=True):
                    self._go(waiting, successor.order, group)
        raise PtxError(f"{self.kernel.function.name}: more than {MAX_STEPS} basic blocks: an endless loop?")

    @staticmethod
    def _go(waiting: dict[int, list[Array]], number: int, threads: Array) -> None:
        if len(threads):
            waiting.setdefault(number, []).append(threads)

    def _next_group(self, waiting: dict[int, list[Array]]) -> tuple[int, Array]:
        """Returns the threads at the first basic block; if that needs whole warps, only those of complete
        warps."""
        for number in sorted(waiting):
            groups = waiting.pop(number)
            threads = groups[0] if len(groups) == 1 else np.sort(np.concatenate(groups))
            if not self.kernel.blocks[number].of_warp:
                return number, threads
            here = np.bincount(threads >> 5, minlength=self.size // 32)
            complete = (here == self.alive.reshape(-1, 32).sum(1))[threads >> 5]
            self._go(waiting, number, threads[~complete])
            if complete.any():
                return number, threads[complete]
        place = self.kernel.blocks[min(waiting)].code[0]
        raise PtxError(f"{place}: reached by only a part of a warp")

    def _execute(self, number: int, threads: Array) -> Value | None:
        block = self.kernel.blocks[number]
        everyone = len(threads) == self.size
        values = {}
        for name in block.uses:
            value = self.registers.get(name, np.False_)
            values[name] = value if everyone or value.ndim == 0 else value[threads]
        frame = Frame(self, threads, values)
        for step in self.kernel.steps[number]:
            step(frame)
        for name in block.outputs & values.keys():
            self._set(name, values[name], threads)
        warps = 1 + int(np.count_nonzero(threads[1:] >> 5 != threads[:-1] >> 5))
        self.warp_instructions += warps * (len(block.code) + (block.end is not None))
        predicate = self.kernel.predicates[number]
        return None if predicate is None else predicate(frame)

    def _set(self, name: str, value: Value, threads: Array) -> None:
        """Stores a value in a register. Arrays are never changed in place, since registers may share one."""
        old = self.registers.get(name)
        if len(threads) == self.size or (old is None and value.ndim == 0):
            self.registers[name] = value
        elif old is None or old.ndim or value.ndim or old != value:
            new = (
                np.zeros(self.size, value.dtype) if old is None else np.array(np.broadcast_to(old, self.size))
            )
            new[threads] = value
            self.registers[name] = new

    def _pass_barrier(
        self, arrived: list[tuple[int, Array, Value | None]], waiting: dict[int, list[Array]]
    ) -> None:
        """Passes a barrier of the blocks. No other thread is waiting elsewhere, so every block of threads is
        complete."""
        instruction = np.full(len(self.barriers), -1)
        votes = np.ones(len(self.barriers), bool)
        for number, threads, predicate in arrived:
            here = np.unique(self.block_of[threads])
            if (instruction[here] >= 0).any() and (instruction[here] != number).any():
                raise PtxError(f"{self.kernel.blocks[number].end}: others of the block wait elsewhere")
            instruction[here] = number
            self.barriers[here] += 1
            if predicate is not None:
                votes[self.block_of[threads[~np.broadcast_to(predicate, len(threads))]]] = False
        for number, threads, predicate in arrived:
            block = self.kernel.blocks[number]
            if predicate is not None:
                assert block.end is not None
                frame = Frame(self, threads, {})
                self.kernel.writer(block.end.operands[0])(frame, votes[self.block_of[threads]])
                for name, value in frame.values.items():
                    self._set(name, value, threads)
            self._go(waiting, block.successors[0].order, threads)

    # Warps.

    def order_in_warps(self, threads: Array) -> None:
        self.warp_barriers[np.unique(threads >> 5)] += 1

    def ballot(self, votes: Value, threads: Array) -> Array:
        everyone = np.zeros(self.size, bool)
        everyone[threads] = votes
        words = np.packbits(everyone.reshape(-1, 32), axis=1, bitorder="little").view(np.uint32).reshape(-1)
        return words[threads >> 5]

    def shuffle(
        self, mode: str, value: Value, lane: Value, bounds: Value, threads: Array
    ) -> tuple[Value, Array]:
        """Returns the lane from which each lane takes its value; its own if that is outside of its part of
        the warp."""
        own = threads & 31
        lane, bound = (x.astype(np.int64) & 31 for x in (lane, bounds))
        segment = (bounds.astype(np.int64) >> 8) & 31
        last = (own & segment) | (bound & ~segment)
        source = {
            "up": own - lane,
            "down": own + lane,
            "bfly": own ^ lane,
            "idx": (own & segment) | (lane & ~segment),
        }[mode]
        valid = source >= last if mode == "up" else source <= last
        everyone = np.zeros(self.size, value.dtype)
        everyone[threads] = value
        return everyone[threads - own + np.where(valid, source, own)], valid

    # Memory.

    @property
    def sectors_read_by_blocks(self) -> int:
        """The distinct sectors of global memory that each block has read, summed over the blocks."""
        return len(np.unique(np.concatenate(self._sectors_read))) if self._sectors_read else 0

    def load(
        self, number: int, space: str, addresses: Value, dtype: np.dtype, count: int, threads: Array
    ) -> tuple[Value, ...]:
        if (
            space == "param" and addresses.ndim == 0 and addresses % dtype.itemsize == 0
        ):  # one address for all threads
            first = int(addresses) // dtype.itemsize
            return tuple(self.parameters.view(dtype)[first : first + count])
        addresses = np.broadcast_to(addresses, len(threads))
        loaded = np.empty((count, len(threads)), dtype)
        for memory, offsets, group in self._places(number, space, addresses, threads):
            elements = offsets // dtype.itemsize
            for i in range(count):
                loaded[i, group] = memory.view(dtype)[elements + i]
        return tuple(loaded)

    def store(
        self, number: int, space: str, addresses: Value, dtype: np.dtype, values: list[Value], threads: Array
    ) -> None:
        addresses = np.broadcast_to(addresses, len(threads))
        values = [np.broadcast_to(value, len(threads)) for value in values]
        only = values[0] if len(values) == 1 else None
        for memory, offsets, group in self._places(number, space, addresses, threads, only):
            for i, value in enumerate(values):
                memory.view(dtype)[offsets // dtype.itemsize + i] = value[group]

    def _places(
        self, number: int, space: str, addresses: Array, threads: Array, values: Array | None = None
    ) -> Iterator[tuple[Memory, Array, Array | slice]]:
        """Checks and counts accesses. Yields the accessed memory, the offsets in it, and the threads.

        A warp that accesses several arrays is counted once for each.
        """
        found: Iterable[tuple[Memory, int, int, Array | slice]]
        if space == "shared":
            found = [(self.shared, 0, self.kernel.shared_bytes, slice(None))]
        elif space == "param":
            found = [(self.parameters, 0, self.kernel.parameter_bytes, slice(None))]
        else:
            found = self.device.find(addresses)
        for memory, base, end, group in found:
            of_group, offsets = threads[group], (addresses[group] - np.uint64(base)).astype(np.int64)
            self._check(number, memory, offsets, end, of_group)
            if space == "shared":
                count_shared(self.accesses[number], offsets, of_group)
                offsets = offsets + self.block_of[of_group] * self.shared_stride
            elif space == "global":
                count_global(self.accesses[number], offsets, of_group)
                if self.accesses[number].kind == "ld":
                    self._sectors_read.append(
                        np.unique((self.block_of[of_group] << 44) | ((offsets + base) >> 5))
                    )
            if space != "param":
                self.races.check(
                    memory,
                    self.accesses[number],
                    offsets,
                    of_group + self.first_thread,
                    self.barriers[self.block_of[of_group]],
                    self.warp_barriers[of_group >> 5],
                    None if values is None else values[group],
                )
            yield memory, offsets, group

    def _check(self, number: int, memory: Memory, offsets: Array, end: int, threads: Array) -> None:
        access = self.accesses[number]
        fault = find_fault(access, memory, offsets, end)
        if fault:
            what, index = fault
            at = self.describe(int(threads[index]) + self.first_thread)
            raise PtxError(f"{self.kernel.function.name}: {what}, by {at}, at {access.place}: {access.text}")

    def describe(self, thread: int) -> str:
        block, own = divmod(thread, self.padded)
        return f"block {coordinates(block, self.grid)} thread {coordinates(own, self.block)}"


def padded_threads(block: Sides) -> int:
    """Returns the number of threads of a block, rounded up to whole warps."""
    return -(-math.prod(block) // 32) * 32
