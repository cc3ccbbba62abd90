"""The arithmetic of single instructions, on numpy arrays with one value per thread.

A value that all threads share may be a numpy scalar. Integers wrap around without warnings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# A numpy array with a value for each thread, or a numpy scalar.
Value = Any

u8, u16, u32, u64 = np.uint8, np.uint16, np.uint32, np.uint64
i32, i64, f16, f32, f64 = np.int32, np.int64, np.float16, np.float32, np.float64


def select(condition: Value, first: Value, second: Value) -> Value:
    return (first if condition else second) if condition.ndim == 0 else np.where(condition, first, second)


def resized(value: Value, dtype: np.dtype) -> Value:
    """Returns the bits of a value as another type, truncated or zero-extended."""
    if value.dtype.itemsize == dtype.itemsize:
        return value.view(dtype)
    bits = value.view(f"u{value.dtype.itemsize}")
    return bits.astype(f"u{dtype.itemsize}").view(dtype)


# Rounding. float64 holds the product of two float32 exactly, but not always the sum with a third.


def error_of_sum(a: Value, b: Value, total: Value) -> Value:
    """Returns the error of `total`, the rounded a + b (TwoSum)."""
    part = total - a
    return (a - (total - part)) + (b - part)


def exact_product(a: Value, b: Value) -> tuple[Value, Value]:
    """Returns the rounded product of two float64 and its error (Dekker)."""

    def halves(x: Value) -> tuple[Value, Value]:
        high = x * 134217729.0
        high = high - (high - x)
        return high, x - high

    product = a * b
    (a1, a2), (b1, b2) = halves(a), halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def fma_float32(a: Value, b: Value, c: Value) -> Value:
    """Returns a * b + c, rounded once. An inexact float64 sum is rounded to odd, so that float32 rounds it
    correctly.

    This matters only halfway between two float32, and for subnormal results.
    """
    product = np.multiply(a, b, dtype=f64)
    total = np.asarray(product + c)
    bits = total.view(u64)
    if (bits & u64(0x1FFFFFFF) == u64(0x10000000)).any() or (np.abs(total) < 1.2e-38).any():
        error = error_of_sum(product, np.asarray(c, f64), total)
        odd = (bits - (np.signbit(error) != np.signbit(total)).astype(u64)) | u64(1)
        total = np.where((error != 0) & np.isfinite(total), odd, bits).view(f64)
    return total.astype(f32)[()]


def fma_float32_down(a: Value, b: Value, c: Value) -> Value:
    """Returns the largest float32 that is not above the exact result."""
    product, c = np.multiply(a, b, dtype=f64), np.asarray(c, f64)
    total = product + c
    rounded = total.astype(f32)
    above = rounded - total + -error_of_sum(product, c, total) > 0
    return np.where(above & np.isfinite(total), np.nextafter(rounded, f32(-np.inf)), rounded)[()]


def fma_float64(a: Value, b: Value, c: Value) -> Value:
    """Returns a * b + c, rounded once except in very rare cases and if the error of the product
    underflows."""
    product, lost = exact_product(a, b)
    total = product + c
    precise = total + (error_of_sum(product, c, total) + lost)
    return np.where(np.isfinite(precise), precise, total)[()]


def float_to_bfloat16(x: Value) -> Value:
    bits = x.view(u32)
    rounded = (bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1))) >> u32(16)
    return np.where(np.isnan(x), u32(0x7FFF), rounded).astype(u16)[()]


def float_to_integer(x: Value, dtype: np.dtype) -> Value:
    """Converts a rounded number to an integer, clamped. NaN becomes 0, or the largest power of two for 64
    bits."""
    limits = np.iinfo(dtype)
    # float64 rounds the limits of 64 bits upwards.
    x = np.asarray(x, f64)
    too_high, too_low, nan = x >= float(limits.max), x <= float(limits.min), np.isnan(x)
    inside = np.where(too_high | too_low | nan, 0, x).astype(dtype)
    of_nan = u64(1 << 63).astype(dtype) if dtype.itemsize == 8 else dtype.type(0)
    clamped = np.where(too_high, dtype.type(limits.max), np.where(too_low, dtype.type(limits.min), inside))
    return np.where(nan, of_nan, clamped)[()]


def saturate(x: Value) -> Value:
    return np.where(x > 0, np.minimum(x, x.dtype.type(1)), x.dtype.type(0))[()]


# Integers.


def divide(a: Value, b: Value) -> Value:
    """Divides, rounding towards zero; a division by zero sets all bits."""
    divisor = np.where(b == 0, b.dtype.type(1), b)
    if a.dtype.kind == "u":
        quotient = a // divisor
    else:
        unsigned = f"u{a.dtype.itemsize}"
        magnitude = (np.abs(a).view(unsigned) // np.abs(divisor).view(unsigned)).view(a.dtype)
        quotient = np.where((a < 0) != (divisor < 0), -magnitude, magnitude)
    return np.where(b == 0, ~a.dtype.type(0), quotient)[()]


def remainder(a: Value, b: Value) -> Value:
    return np.where(b == 0, a, a - divide(a, b) * b)[()]


def shift_left(a: Value, count: Value) -> Value:
    width = 8 * a.dtype.itemsize
    shifted = a << np.minimum(count, u32(width - 1)).astype(a.dtype)
    return select(count < width, shifted, a.dtype.type(0))


def shift_right(a: Value, count: Value) -> Value:
    """Shifts right; a signed type is filled with copies of its sign bit."""
    width = 8 * a.dtype.itemsize
    shifted = a >> np.minimum(count, u32(width - 1)).astype(a.dtype)
    return shifted if a.dtype.kind == "i" else select(count < width, shifted, a.dtype.type(0))


def leading_zeros(a: Value) -> Value:
    """Counts leading zeros of 32-bit integers, which float64 represents exactly."""
    return (32 - np.frexp(np.asarray(a, f64))[1]).astype(u32)[()]


def shift_of_highest_bit(a: Value) -> Value:
    """Computes bfind.shiftamt: the distance of the highest set bit from the left end; all bits set if there
    is none."""
    return np.where(a == 0, ~u32(0), leading_zeros(a))[()]


def reverse_bits(a: Value) -> Value:
    for step, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        a = ((a >> u32(step)) & u32(mask)) | ((a & u32(mask)) << u32(step))
    return a


def insert_bits(source: Value, into: Value, position: Value, count: Value) -> Value:
    """Computes bfi.b32: inserts the lowest `count` bits of the source at a position of another word."""
    place, width = (np.minimum(x & u32(255), u32(32)).astype(u64) for x in (position, count))
    mask = ((u64(1) << width) - u64(1)) << place
    return ((into.astype(u64) & ~mask) | ((source.astype(u64) << place) & mask)).astype(u32)


def permute_bytes(a: Value, b: Value, selector: Value) -> Value:
    """Computes prmt.b32: selects four of the eight bytes of a and b, or copies of their sign bits."""
    both = a.astype(u64) | (b.astype(u64) << u64(32))
    result: Value = u32(0)
    for i in range(4):
        choice = (selector >> u32(4 * i)) & u32(15)
        byte = ((both >> (u64(8) * (choice & u32(7)).astype(u64))) & u64(255)).astype(u32)
        byte = select((choice & u32(8)) != 0, (byte >> u32(7)) * u32(255), byte)
        result = result | (byte << u32(8 * i))
    return result


COMPARISONS: dict[str, Callable[[Value, Value], Value]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: (a < b) | (a > b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    # Also true if one is NaN:
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "neu": lambda a, b: a != b,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
}
