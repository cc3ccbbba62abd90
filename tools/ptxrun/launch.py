"""Launches a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from ptxrun.execute import Batch, Sides, coordinates, padded_threads
from ptxrun.kernel import Kernel
from ptxrun.memory import Device, Memory, RaceCheck
from ptxrun.parse import TYPES, Function, Module, PtxError
from ptxrun.report import Access, Report

Argument = int | float | bytes | np.ndarray | np.generic

THREADS_AT_ONCE = 16384


@cache
def translated(module: Module, name: str) -> Kernel:
    return Kernel(module.functions[name])


def run(
    module: Module,
    kernel: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    arguments: Sequence[Argument],
    device: Device,
) -> Report:
    """Runs a kernel in place on the arrays of the device.

    `kernel` is a part of the mangled name that identifies the kernel. Pointers are addresses from
    `Device.bind`; structs are structured numpy scalars or bytes. Raises PtxError for an access that is out of
    bounds or misaligned, a write to a read-only array, and a deadlock. Races are listed in the report.
    """
    function = module.find(kernel)
    translation = translated(module, function.name)
    grid, block = sides(grid), sides(block)
    if not 0 < math.prod(block) <= function.max_threads:
        raise PtxError(f"block must have up to {function.max_threads} threads, got {block}")
    if min(grid) < 1 or max(grid[1:]) > 65535:
        raise PtxError(f"grid must have positive sides, y and z of up to 65535, got {grid}")
    parameters = Memory("the parameters", parameter_bytes(function, translation, arguments))
    for array in device.arrays:
        array.forget()
    report = Report(function.name, grid, block)
    accesses = [
        Access(each.text, each.place, each.modifiers[0], each.name, access_bytes(each.modifiers, each.type()))
        for each in translation.accesses
    ]
    padded = padded_threads(block)

    def describe(thread: int) -> str:
        number, own = divmod(thread, padded)
        return f"block {coordinates(number, grid)} thread {coordinates(own, block)}"

    races = RaceCheck(padded, report.races, describe)
    at_once, total = max(1, THREADS_AT_ONCE // padded), math.prod(grid)
    with np.errstate(all="ignore"):
        for first in range(0, total, at_once):
            blocks = range(first, min(first + at_once, total))
            batch = Batch(translation, device, parameters, grid, block, blocks, accesses, races)
            batch.run()
            report.warp_instructions += batch.warp_instructions
            report.sectors_read_by_blocks += batch.sectors_read_by_blocks
    report.accesses = [access for access in accesses if access.requests]
    return report


def sides(value: int | Sequence[int]) -> Sides:
    given = (value,) if isinstance(value, int) else tuple(value)
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z


def access_bytes(modifiers: Sequence[str], kind: str) -> int:
    vector = next((int(each[1:]) for each in modifiers if each in ("v2", "v4")), 1)
    return vector * TYPES[kind].itemsize


def parameter_bytes(function: Function, kernel: Kernel, arguments: Sequence[Argument]) -> np.ndarray:
    if len(arguments) != len(function.parameters):
        raise PtxError(f"{function.name} takes {len(function.parameters)} arguments, got {len(arguments)}")
    data = np.zeros(-(-kernel.parameter_bytes // 8) * 8, np.uint8)
    for index, (parameter, argument) in enumerate(zip(function.parameters, arguments, strict=True)):
        if isinstance(argument, int | float):
            argument = TYPES[parameter.type].type(argument)
        raw = argument if isinstance(argument, bytes) else argument.tobytes()
        if len(raw) != parameter.size:
            raise PtxError(f"argument {index} must have {parameter.size} bytes, got {len(raw)}")
        offset = kernel.parameters[parameter.name]
        data[offset : offset + len(raw)] = np.frombuffer(raw, np.uint8)
    return data
