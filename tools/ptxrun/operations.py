"""The instructions that compute a register from registers, as functions of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ptxrun import arithmetic as a
from ptxrun.arithmetic import Value
from ptxrun.parse import TYPES, Instruction, PtxError

Function = Callable[..., Value]

BOOL, WORD = np.dtype(np.bool_), np.dtype(np.uint32)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def same(value: Value) -> Value:
    return value


def flushed(value: Value) -> Value:
    """Flushes subnormal float32 to zeros of the same sign."""
    tiny = np.abs(value) < np.finfo(np.float32).tiny
    return a.select(tiny, np.copysign(np.float32(0), value), value)


# The types of the operands, followed by that of the result: t is the type of the instruction, u the unsigned
# type of its size, w a word of 32 bits, p a predicate.
OF_ANY_TYPE: dict[str, tuple[Function, str]] = {
    "mov": (same, "tt"),
    "cvta.to.global": (same, "tt"),
    "selp": (lambda x, y, p: a.select(p, x, y), "ttpt"),
}
OF_INTEGERS: dict[str, tuple[Function, str]] = {
    "add": (np.add, "uuu"),
    "sub": (np.subtract, "uuu"),
    "neg": (np.negative, "uu"),
    "mul.lo": (np.multiply, "uuu"),
    "mad.lo": (lambda x, y, z: x * y + z, "uuuu"),
    "div": (a.divide, "ttt"),
    "rem": (a.remainder, "ttt"),
    "min": (np.minimum, "ttt"),
    "max": (np.maximum, "ttt"),
    "and": (np.bitwise_and, "uuu"),
    "or": (np.bitwise_or, "uuu"),
    "xor": (np.bitwise_xor, "uuu"),
    "not": (np.invert, "uu"),
    "shl": (a.shift_left, "uwu"),
    "shr": (a.shift_right, "twt"),
    "popc": (lambda x: np.bitwise_count(x).astype(np.uint32), "uw"),
    "brev": (a.reverse_bits, "ww"),
    "bfind.shiftamt": (a.shift_of_highest_bit, "ww"),
    "bfi": (a.insert_bits, "wwwww"),
    "prmt": (a.permute_bytes, "wwww"),
}
OF_FLOATS: dict[str, tuple[Function, str]] = {
    "add": (np.add, "ttt"),
    "sub": (np.subtract, "ttt"),
    "mul": (np.multiply, "ttt"),
    "div.rn": (np.divide, "ttt"),
    "rcp.rn": (lambda x: x.dtype.type(1) / x, "tt"),
    "sqrt.rn": (np.sqrt, "tt"),
    "abs": (np.abs, "tt"),
    "neg": (np.negative, "tt"),
    "min": (np.fmin, "ttt"),
    "max": (np.fmax, "ttt"),
}
OF_FLOAT32: dict[str, tuple[Function, str]] = {
    "fma.rn": (a.fma_float32, "tttt"),
    "fma.rm": (a.fma_float32_down, "tttt"),
    "ex2.approx": (lambda x: np.exp2(x.astype(np.float64)).astype(np.float32), "tt"),
    "ex2.approx.ftz": (lambda x: flushed(np.exp2(flushed(x).astype(np.float64)).astype(np.float32)), "tt"),
}
OF_FLOAT64: dict[str, tuple[Function, str]] = {
    "fma.rn": (a.fma_float64, "tttt"),
    "rsqrt.approx.ftz": (lambda x: 1 / np.sqrt(x), "tt"),
}


def operation(instruction: Instruction) -> tuple[Function, Sequence[np.dtype], np.dtype]:
    """Returns the function of an instruction, the types of its operands and the type of its result."""
    if instruction.name == "cvt":
        return conversion(instruction)
    kind = instruction.type()
    dtype = TYPES[kind]
    words = (instruction.name, *(modifier for modifier in instruction.modifiers if modifier not in TYPES))
    if instruction.name == "setp" and len(words) == 2 and words[1] in a.COMPARISONS:
        compare = np.not_equal if words[1] == "ne" and dtype.kind != "f" else a.COMPARISONS[words[1]]
        return compare, (dtype, dtype), BOOL
    if words == ("mul", "wide"):
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
        return lambda x, y: x.astype(wide) * y.astype(wide), (dtype, dtype), wide
    name = ".".join(words)
    if dtype.kind == "f" and words[0] in ("add", "sub", "mul"):
        name = name.removesuffix(".rn")  # the default rounding; it also forbids fusing
    tables = [OF_ANY_TYPE]
    if dtype.kind != "f":
        tables.append(OF_INTEGERS)
    elif kind in ("f32", "f64"):
        tables += [OF_FLOATS, OF_FLOAT32 if kind == "f32" else OF_FLOAT64]
    for table in tables:
        if name in table:
            function, types = table[name]
            unsigned = dtype if dtype == BOOL else np.dtype(f"u{dtype.itemsize}")
            dtypes = [{"t": dtype, "u": unsigned, "w": WORD, "p": BOOL}[each] for each in types]
            if "w" not in types or name in ("shl", "shr", "popc") or dtype.itemsize == 4:
                return function, dtypes[:-1], dtypes[-1]
    raise PtxError(f"unsupported instruction: {instruction}")


TO_WHOLE: dict[str, Function] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}

# Conversions to or from 16-bit floating point, which registers hold as bits.
OF_HALVES: dict[str, Function] = {
    "f32.f16": lambda x: x.view(np.float16).astype(np.float32),
    "rn.f16.f32": lambda x: x.astype(np.float16).view(np.uint16),
    "rn.f16.f64": lambda x: x.astype(np.float16).view(np.uint16),
    "rn.bf16.f32": a.float_to_bfloat16,
}


def conversion(instruction: Instruction) -> tuple[Function, Sequence[np.dtype], np.dtype]:
    name = ".".join(instruction.modifiers)
    to, source = instruction.type(-2), instruction.type()
    result, dtype = TYPES[to], TYPES[source]
    rounding = [modifier for modifier in instruction.modifiers if modifier not in TYPES]
    if name in OF_HALVES:
        return OF_HALVES[name], (dtype,), result
    if "f16" in (to, source) or "bf16" in (to, source):
        raise PtxError(f"unsupported instruction: {instruction}")
    exact = result.kind != "f" if dtype.kind != "f" else (to, source) == ("f64", "f32")
    if rounding == ([] if exact else ["rn"]) and (result.kind == "f" or dtype.kind != "f"):
        return lambda x: x.astype(result), (dtype,), result
    if len(rounding) == 1 and rounding[0] in TO_WHOLE and dtype.kind == "f":
        whole = TO_WHOLE[rounding[0]]
        if result == dtype:
            return whole, (dtype,), result
        if result.kind != "f":
            return lambda x: a.float_to_integer(whole(x), result), (dtype,), result
    if rounding == ["sat"] and result == dtype and dtype.kind == "f":
        return a.saturate, (dtype,), result
    raise PtxError(f"unsupported instruction: {instruction}")
