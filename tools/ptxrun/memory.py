"""The memory of a launch: address translation, the cost of accesses, and races."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ptxrun.parse import PtxError
from ptxrun.report import Access, Race

Array = np.ndarray


class Shadow:
    """The last writer and reader of each 4-byte word, and the interval between barriers in which they
    accessed it.

    For several readers in one interval, only the fact that there were several is stored.
    """

    NO_THREAD, SEVERAL = -1, -2

    def __init__(self, words: int) -> None:
        def filled(value: int) -> Array:
            return np.full(words, value, np.int64)

        self.writer, self.reader = filled(self.NO_THREAD), filled(self.NO_THREAD)
        self.written, self.read = filled(-1), filled(-1)  # intervals between barriers of the block
        self.written_in_warp, self.read_in_warp = filled(-1), filled(-1)
        self.written_byte, self.read_byte = filled(0), filled(0)  # bytes of accesses smaller than a word


class Memory:
    """An array that kernels access, or the shared memory of all blocks of a batch."""

    def __init__(self, name: str, array: Array, base: int = 0) -> None:
        self.name = name
        self.base = base
        self.bytes = array.reshape(-1).view(np.uint8)
        self.writable = array.flags.writeable
        self._views: dict[np.dtype, Array] = {}
        self._shadow: Shadow | None = None

    def view(self, dtype: np.dtype) -> Array:
        if dtype not in self._views:
            whole = len(self.bytes) // dtype.itemsize * dtype.itemsize
            self._views[dtype] = self.bytes[:whole].view(dtype)
        return self._views[dtype]

    @property
    def shadow(self) -> Shadow:
        self._shadow = self._shadow or Shadow(len(self.bytes) // 4 + 1)
        return self._shadow

    def forget(self) -> None:
        """Forgets the accesses of an earlier launch."""
        self._shadow = None


class Device:
    """Global memory: `bind` assigns an address to an array. Arrays are far apart, with nothing in between."""

    GAP = 1 << 21

    def __init__(self) -> None:
        self.arrays: list[Memory] = []
        self._bases: list[int] = []
        self._next = 0x7F0000000000

    def bind(self, array: Array, name: str = "an array") -> int:
        """Returns the address of an array, which must be contiguous and is accessed in place."""
        if not array.flags.c_contiguous:
            raise PtxError(f"{name} must be contiguous")
        for known in self.arrays:
            if known.bytes.ctypes.data == array.ctypes.data and known.bytes.nbytes == array.nbytes:
                return known.base
        self.arrays.append(Memory(name, array, self._next))
        self._bases.append(self._next)
        self._next += (array.nbytes // self.GAP + 2) * self.GAP
        return self.arrays[-1].base

    def find(self, addresses: Array) -> Iterator[tuple[Memory, int, int, Array | slice]]:
        """Yields the arrays at some addresses, their start and size, and which of the addresses they are."""
        below = np.searchsorted(np.array(self._bases, np.uint64), addresses, "right") - 1
        for number in np.unique(below):
            array = self.arrays[max(number, 0)]
            everywhere = bool((below == number).all())
            yield (
                array,
                array.base,
                len(array.bytes),
                slice(None) if everywhere else np.flatnonzero(below == number),
            )


def find_fault(access: Access, memory: Memory, offsets: Array, end: int) -> tuple[str, int] | None:
    """Returns the fault of accesses at byte offsets and the index of the first faulty one, or None."""
    outside = (offsets < 0) | (offsets + access.bytes > end)
    if outside.any():
        first = int(np.argmax(outside))
        kind = "write" if access.kind == "st" else "read"
        where = f"at offset {offsets[first]} of {memory.name}, of {end} bytes"
        return f"out-of-bounds {kind} of {access.bytes} bytes {where}", first
    misaligned = offsets % access.bytes != 0
    if misaligned.any():
        first = int(np.argmax(misaligned))
        return f"misaligned access of {access.bytes} bytes at offset {offsets[first]} of {memory.name}", first
    if access.kind == "st" and not memory.writable:
        return f"write to the read-only {memory.name}", 0
    return None


def count_changes(*keys: Array) -> int:
    """Returns the number of runs of equal keys in sorted keys."""
    differ = np.zeros(len(keys[0]) - 1, bool)
    for key in keys:
        differ |= key[1:] != key[:-1]
    return int(differ.sum()) + 1


def count_global(access: Access, offsets: Array, threads: Array) -> None:
    warps = threads >> 5
    access.requests += count_changes(warps)
    access.lanes += len(threads)
    access.sectors += len(np.unique((warps << 40) | (offsets >> 5)))


def count_shared(access: Access, offsets: Array, threads: Array) -> None:
    """Counts wavefronts: each serves one word from each of 32 banks; vectors are split into halves or
    quarters of a warp."""
    words = max(1, access.bytes // 4)
    access.requests += count_changes(threads >> 5)
    access.lanes += len(threads)
    passes = (threads >> 5) * words + (threads & 31) // (32 // words)
    word = (offsets[:, None] >> 2) + np.arange(words)
    banks = np.unique((passes[:, None] << 36) | ((word & 31) << 31) | (word >> 5)) >> 31
    starts = np.flatnonzero(np.append(True, banks[1:] != banks[:-1]))
    words_of_bank = np.diff(np.append(starts, len(banks)))
    of_pass = banks[starts] >> 5
    first = np.flatnonzero(np.append(True, of_pass[1:] != of_pass[:-1]))
    access.wavefronts += int(np.maximum.reduceat(words_of_bank, first).sum())
    access.fewest_wavefronts += len(first)


class RaceCheck:
    """Finds accesses that no barrier orders: `__syncwarp` orders those of a warp, shuffles do not."""

    def __init__(self, threads_per_block: int, races: list[Race], describe: Callable[[int], str]) -> None:
        self._size = threads_per_block
        self._races: dict[tuple[str, str, str], Race] = {}
        self._found = races
        self._describe = describe

    def check(
        self,
        memory: Memory,
        access: Access,
        offsets: Array,
        threads: Array,
        interval: Array,
        interval_of_warp: Array,
        values: Array | None,
    ) -> None:
        """Checks the accesses of an instruction; threads are numbered over the whole launch.

        `values` are the stored values of one element per thread; threads may store equal ones.
        """
        shadow, part_of_word = memory.shadow, access.bytes < 4
        for step in range(max(1, access.bytes // 4)):
            word = (offsets >> 2) + step
            byte = offsets & 3 if part_of_word else np.zeros_like(offsets)

            def unordered(other: Array, then: Array, then_in_warp: Array) -> Array:
                same_block = other // self._size == threads // self._size
                same_interval = (then == interval) & (
                    (other >> 5 != threads >> 5) | (then_in_warp == interval_of_warp)
                )
                return (other >= 0) & (other != threads) & (~same_block | same_interval)

            writer = shadow.writer[word]
            hot = unordered(writer, shadow.written[word], shadow.written_in_warp[word])
            hot &= shadow.written_byte[word] == byte
            self._note(
                "write, then " + ("read" if access.kind == "ld" else "write"),
                hot,
                writer,
                offsets,
                threads,
                memory,
                access,
            )
            if access.kind == "ld":
                self._remember_readers(shadow, word, byte, threads, interval, interval_of_warp)
                continue
            reader = shadow.reader[word]
            hot = unordered(reader, shadow.read[word], shadow.read_in_warp[word])
            if access.space == "shared":
                hot |= (reader == Shadow.SEVERAL) & (shadow.read[word] == interval)
            hot &= shadow.read_byte[word] == byte
            self._note("read, then write", hot, reader, offsets, threads, memory, access)
            self._check_instruction(word * 4 + byte, offsets, threads, memory, access, values)
            shadow.writer[word], shadow.written[word] = threads, interval
            shadow.written_in_warp[word], shadow.written_byte[word] = interval_of_warp, byte
            shadow.reader[word] = Shadow.NO_THREAD

    @staticmethod
    def _remember_readers(
        shadow: Shadow, word: Array, byte: Array, threads: Array, interval: Array, interval_of_warp: Array
    ) -> None:
        before = shadow.reader[word]
        others = (before != Shadow.NO_THREAD) & (before != threads) & (shadow.read[word] == interval)
        shadow.reader[word] = threads
        shadow.reader[word[others]] = Shadow.SEVERAL
        ordered = np.sort(word)
        shadow.reader[ordered[1:][ordered[1:] == ordered[:-1]]] = Shadow.SEVERAL
        shadow.read[word], shadow.read_in_warp[word], shadow.read_byte[word] = (
            interval,
            interval_of_warp,
            byte,
        )

    def _check_instruction(
        self,
        places: Array,
        offsets: Array,
        threads: Array,
        memory: Memory,
        access: Access,
        values: Array | None,
    ) -> None:
        order = np.argsort(places, kind="stable")
        again = places[order[1:]] == places[order[:-1]]
        if values is not None:
            again &= values[order[1:]] != values[order[:-1]]
        second = order[1:][again]
        hot = np.zeros(len(places), bool)
        hot[second] = True
        first = np.full(len(places), Shadow.NO_THREAD)
        first[order[1:]] = threads[order[:-1]]
        self._note("different writes by one instruction", hot, first, offsets, threads, memory, access)

    def _note(
        self,
        kind: str,
        hot: Array,
        other: Array,
        offsets: Array,
        threads: Array,
        memory: Memory,
        access: Access,
    ) -> None:
        if not hot.any():
            return
        key, at = (kind, memory.name, access.place), int(np.argmax(hot))
        if key in self._races:
            self._races[key].count += int(hot.sum())
            return
        first = "several threads" if other[at] == Shadow.SEVERAL else self._describe(int(other[at]))
        second, place = self._describe(int(threads[at])), f"{access.place}: {access.text}"
        race = Race(access.space, kind, int(offsets[at]), memory.name, first, second, place, int(hot.sum()))
        self._races[key] = race
        self._found.append(race)
