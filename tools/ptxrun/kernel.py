"""Translates a kernel to Python functions: one step per instruction, applied to a group of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptxrun.arithmetic import Value, resized
from ptxrun.flow import Block, basic_blocks
from ptxrun.operations import operation
from ptxrun.parse import (
    TYPES,
    Address,
    Function,
    Instruction,
    Literal,
    Operand,
    Pair,
    PtxError,
    Register,
    Special,
    Symbol,
    Variable,
    Vector,
)

if TYPE_CHECKING:
    from ptxrun.execute import Batch


@dataclass
class Frame:
    """The threads that execute a basic block together, in ascending order, and the registers that it uses."""

    batch: Batch
    threads: np.ndarray
    values: dict[str, Value]


Step = Callable[[Frame], None]
Read = Callable[[Frame], Value]
Write = Callable[[Frame, Value], None]

WORD, ADDRESS, BOOL = np.dtype(np.uint32), np.dtype(np.uint64), np.dtype(np.bool_)


def lay_out(variables: list[Variable]) -> tuple[dict[str, int], int]:
    """Returns the offset of each variable, and the total size."""
    offsets, end = {}, 0
    for variable in variables:
        offsets[variable.name] = -(-end // variable.align) * variable.align
        end = offsets[variable.name] + variable.size
    return offsets, end


class Kernel:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.parameters, self.parameter_bytes = lay_out(function.parameters)
        self.shared, self.shared_bytes = lay_out(function.shared)
        self.accesses: list[Instruction] = []  # loads and stores, in the order of their counts
        self.blocks = basic_blocks(function)
        self.steps = [[self._step(instruction) for instruction in block.code] for block in self.blocks]
        self.predicates = [self._predicate(block) for block in self.blocks]

    def _predicate(self, block: Block) -> Read | None:
        """Returns the predicate of a guarded branch, or the operand that a barrier combines."""
        if block.end is None:
            return None
        if block.end.name == "bar":
            if block.end.modifiers not in (("sync",), ("red", "and", "pred")):
                raise PtxError(f"unsupported instruction: {block.end}")
            return self.reader(block.end.operands[2], BOOL) if "red" in block.end.modifiers else None
        if block.end.guard is None:
            return None
        register, value = block.end.guard
        read = self.reader(register, BOOL)
        return read if value else lambda frame: ~read(frame)

    def _step(self, instruction: Instruction) -> Step:
        match instruction.name:
            case "ld" | "st":
                return self._memory_step(instruction)
            case "shfl":
                return self._shuffle_step(instruction)
            case "vote" if instruction.modifiers == ("sync", "ballot", "b32"):
                write, read = self.writer(instruction.operands[0]), self.reader(instruction.operands[1], BOOL)
                return lambda frame: write(frame, frame.batch.ballot(read(frame), frame.threads))
            case "bar" if instruction.modifiers == ("warp", "sync"):
                return lambda frame: frame.batch.order_in_warps(frame.threads)
        function, dtypes, _ = operation(instruction)
        write = self.writer(instruction.operands[0])
        operands = zip(instruction.operands[1:], dtypes, strict=True)
        reads = [self.reader(operand, dtype) for operand, dtype in operands]
        if len(reads) == 1:
            (only,) = reads
            return lambda frame: write(frame, function(only(frame)))
        return lambda frame: write(frame, function(*(read(frame) for read in reads)))

    def _memory_step(self, instruction: Instruction) -> Step:
        """Translates a load or store of one or several elements, such as `ld.global.v4.f32`."""
        space, *rest = instruction.modifiers
        count, dtype = int(rest[0][1:]) if len(rest) == 2 else 1, TYPES[instruction.type()]
        if (
            space not in ("global", "shared", "param")
            or len(rest) > 2
            or (space, instruction.name) == ("param", "st")
        ):
            raise PtxError(f"unsupported instruction: {instruction}")
        number = len(self.accesses)
        self.accesses.append(instruction)
        registers, place = instruction.operands if instruction.name == "ld" else instruction.operands[::-1]
        assert isinstance(place, Address)
        elements = registers.elements if isinstance(registers, Vector) else (registers,)
        address = self._address(place)
        if instruction.name == "st":
            reads = [self.reader(element, dtype) for element in elements]

            def store(frame: Frame) -> None:
                values = [read(frame) for read in reads]
                frame.batch.store(number, space, address(frame), dtype, values, frame.threads)

            return store
        writes = [self.writer(element) for element in elements]

        def load(frame: Frame) -> None:
            values = frame.batch.load(number, space, address(frame), dtype, count, frame.threads)
            for write, value in zip(writes, values, strict=True):
                write(frame, value)

        return load

    def _address(self, place: Address) -> Read:
        """Returns the address of an operand. It wraps around in the type of its register, 32 bits for shared
        memory."""
        dtype = place.base.dtype if isinstance(place.base, Register) else ADDRESS
        read, offset = self.reader(place.base, dtype), dtype.type(place.offset % (1 << 8 * dtype.itemsize))
        return lambda frame: (read(frame) + offset).astype(ADDRESS)

    def _shuffle_step(self, instruction: Instruction) -> Step:
        sync, mode, *_ = instruction.modifiers
        result, *operands = instruction.operands
        if sync != "sync" or mode not in ("up", "down", "bfly", "idx") or not isinstance(result, Pair):
            raise PtxError(f"unsupported instruction: {instruction}")
        write, write_valid = self.writer(result.first), self.writer(result.second)
        value, lane, bounds, _ = (self.reader(operand, WORD) for operand in operands)

        def shuffle(frame: Frame) -> None:
            shuffled, valid = frame.batch.shuffle(
                mode, value(frame), lane(frame), bounds(frame), frame.threads
            )
            write(frame, shuffled)
            write_valid(frame, valid)

        return shuffle

    def reader(self, operand: Operand, dtype: np.dtype) -> Read:
        """Returns a function that reads an operand as a type."""
        match operand:
            case Register(name=name, dtype=own):
                if own == dtype:
                    return lambda frame: frame.values[name]
                return lambda frame: resized(frame.values[name], dtype)
            case Literal():
                literal = operand.value(dtype)
                return lambda frame: literal
            case Symbol(name=name, offset=offset):
                base = self.parameters.get(name, self.shared.get(name))
                if base is None:
                    raise PtxError(f"unsupported variable: {name}")
                address = dtype.type(base + offset)
                return lambda frame: address
            case Special(name=name):
                return lambda frame: frame.batch.special(name, frame.threads)
            case Vector(elements=elements):
                part = np.dtype(f"u{dtype.itemsize // len(elements)}")
                reads = [self.reader(element, part) for element in elements]
                bits = np.dtype(f"u{dtype.itemsize}")

                def pack(frame: Frame) -> Value:
                    packed: Value = bits.type(0)
                    for i, read in enumerate(reads):
                        packed = packed | (read(frame).astype(bits) << bits.type(8 * part.itemsize * i))
                    return packed.view(dtype)

                return pack
        raise PtxError(f"unsupported operand: {operand}")

    def writer(self, operand: Operand) -> Write:
        """Returns a function that stores a value in a register, sign-extended if its type is signed."""
        match operand:
            case Register(name=name, dtype=own):

                def write(frame: Frame, value: Value) -> None:
                    if value.dtype.kind == "i" and value.dtype.itemsize < own.itemsize:
                        value = value.astype(f"i{own.itemsize}")
                    frame.values[name] = value if value.dtype == own else resized(value, own)

                return write
            case Vector(elements=elements):
                writes = [self.writer(element) for element in elements]

                def unpack(frame: Frame, value: Value) -> None:
                    bits = value.view(f"u{value.dtype.itemsize}")
                    part = np.dtype(f"u{value.dtype.itemsize // len(writes)}")
                    for i, write_part in enumerate(writes):
                        write_part(frame, (bits >> bits.dtype.type(8 * part.itemsize * i)).astype(part))

                return unpack
        raise PtxError(f"unsupported result: {operand}")
