"""Tests of the PTX interpreter in tools/ptxrun, on PTX written here, without nvcc."""

import ctypes
import ctypes.util
import struct
from fractions import Fraction

import numpy as np
import ptxrun
import pytest
from ptxrun import arithmetic

NUMPY = {
    "f32": "f4",
    "f64": "f8",
    "b32": "u4",
    "u32": "u4",
    "s32": "i4",
    "u64": "u8",
    "s64": "i8",
    "u16": "u2",
}


def kernel(body: str, shared: str = "") -> ptxrun.Module:
    """Returns a kernel with two pointers in %rd1 and %rd2 and the index of the thread in its block in %r1."""
    return ptxrun.Module(
        f"""
        .version 7.0
        .target sm_80
        .address_size 64
        .visible .entry kernel(.param .u64 input, .param .u64 output)
        {{
            .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<19>; .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>;
            {shared}
            ld.param.u64 %rd1, [input];
            ld.param.u64 %rd2, [output];
            mov.u32 %r1, %tid.x;
            {body}
            ret;
        }}"""
    )


def run(module, input, output, block=32, grid=1):
    device = ptxrun.Device()
    addresses = device.bind(input, "the input"), device.bind(output, "the output")
    return ptxrun.run(module, "kernel", grid, block, addresses, device)


def calculate(instruction: str, result: str, *operands: tuple[str, np.ndarray]) -> np.ndarray:
    """Runs `instruction` for each element, with the registers %a0, %a1, ... as operands and %out as its
    result."""
    count = len(operands[0][1])
    input = np.concatenate([values.astype(NUMPY[kind]).view(np.uint8) for kind, values in operands])
    body, offset = f".reg .{result} %out;\n", 0
    for i, (kind, _) in enumerate(operands):
        size = np.dtype(NUMPY[kind]).itemsize
        body += f".reg .{kind} %a{i}; mad.lo.s32 %r2, %r1, {size}, {offset}; cvt.u64.u32 %rd3, %r2;\n"
        body += f"add.s64 %rd4, %rd1, %rd3; ld.global.{kind} %a{i}, [%rd4];\n"
        offset += size * count
    output = np.zeros(count, NUMPY[result])
    body += f"{instruction};\nmul.wide.u32 %rd5, %r1, {output.itemsize}; add.s64 %rd6, %rd2, %rd5;\n"
    run(kernel(body + f"st.global.{result} [%rd6], %out;"), input, output, block=count)
    return output


def signed(bits: int, width: int = 32) -> int:
    return (bits + (1 << width - 1)) % (1 << width) - (1 << width - 1)


def integers(kind: str, seed: int) -> np.ndarray:
    limits = np.iinfo(NUMPY[kind])
    values = np.random.default_rng(seed).integers(limits.min, limits.max, 200, NUMPY[kind], endpoint=True)
    values[:6] = 0, 1, 5, limits.max, limits.min, 7
    return values


def towards_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else -1


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("add.s32", "s32", lambda a, b: a + b),
        ("sub.s64", "s64", lambda a, b: a - b),
        ("mul.lo.s32", "s32", lambda a, b: a * b),
        ("div.s32", "s32", towards_zero),
        ("div.u32", "u32", lambda a, b: a // b if b else -1),
        ("div.s64", "s64", towards_zero),
        ("rem.s32", "s32", lambda a, b: a - towards_zero(a, b) * b if b else a),
        ("min.s32", "s32", min),
        ("max.u64", "u64", max),
        ("and.b32", "u32", lambda a, b: a & b),
        ("or.b32", "u32", lambda a, b: a | b),
        ("xor.b32", "u32", lambda a, b: a ^ b),
    ],
)
def test_integers(name, kind, expected):
    a, b = integers(kind, 0), integers(kind, 1)[::-1]
    actual = calculate(f"{name} %out, %a0, %a1", kind, (kind, a), (kind, b))
    width = 8 * a.itemsize
    for i, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        assert (int(actual[i]) - expected(x, y)) % (1 << width) == 0, (x, y)


@pytest.mark.parametrize(
    ("instruction", "kind", "expected"),
    [
        ("shl.b32 %out, %a0, %a1", "u32", lambda a, n: a << n if n < 32 else 0),
        ("shr.u32 %out, %a0, %a1", "u32", lambda a, n: a >> n),
        ("shr.s32 %out, %a0, %a1", "s32", lambda a, n: a >> n),
        ("popc.b32 %out, %a0", "u32", lambda a, n: a.bit_count()),
        ("brev.b32 %out, %a0", "u32", lambda a, n: int(f"{a:032b}"[::-1], 2)),
        ("bfind.shiftamt.u32 %out, %a0", "u32", lambda a, n: 32 - a.bit_length() if a else -1),
        ("bfi.b32 %out, %a0, 0, 20, 12", "u32", lambda a, n: a << 20),
        ("prmt.b32 %out, %a0, 0, 0x0123", "u32", lambda a, n: int.from_bytes(struct.pack("<I", a), "big")),
        ("prmt.b32 %out, %a0, 0, 0xBBBB", "u32", lambda a, n: -(a >> 31)),
    ],
)
def test_bits(instruction, kind, expected):
    a, count = integers(kind, 2), np.arange(200) % 40
    actual = calculate(instruction, kind, (kind, a), ("u32", count))
    for i, (x, n) in enumerate(zip(a.tolist(), count.tolist(), strict=True)):
        assert (int(actual[i]) - expected(x, n)) % (1 << 32) == 0, (x, n)


def floats(dtype: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.standard_normal(200) * np.exp2(random.integers(-20, 20, 200))
    values[:8] = 0, -0.0, np.inf, -np.inf, np.nan, 1, 2.5, -0.5
    return values.astype(dtype)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", np.add),
        ("mul.rn", np.multiply),
        ("div.rn", np.divide),
        ("min", np.fmin),
        ("max", np.fmax),
    ],
)
def test_floats(name, expected, kind):
    a, b = floats(NUMPY[kind], 0), floats(NUMPY[kind], 1)[::-1]
    actual = calculate(f"{name}.{kind} %out, %a0, %a1", kind, (kind, a), (kind, b))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(actual, expected(a, b))


C = ctypes.CDLL(ctypes.util.find_library("m"))
C.fmaf.restype = ctypes.c_float
C.fmaf.argtypes = [ctypes.c_float] * 3


def hard_sums() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns float32 values whose a * b + c is close to halfway between two float32, cancels, or is
    subnormal."""
    random = np.random.default_rng(3)
    a, b = (random.integers(1, 1 << 24, 3000).astype("f4") for _ in "ab")
    c = np.exp2(random.integers(-60, 60, 3000)).astype("f4") * random.choice(np.array([-1, 1], "f4"), 3000)
    c[:1000] = -(a[:1000].astype("f8") * b[:1000]).astype("f4")
    a[2000:] *= np.exp2(random.integers(-90, -60, 1000)).astype("f4")
    b[2000:] *= np.float32(2.0**-80)
    c[2000:] = 0
    return a, b, c


def test_fma_of_float32_is_that_of_c():
    a, b, c = hard_sums()
    expected = [C.fmaf(*each) for each in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(arithmetic.fma_float32(a, b, c), np.array(expected, "f4"))


def test_fma_of_float32_rounded_down():
    a, b, c = hard_sums()
    for actual, *each in zip(arithmetic.fma_float32_down(a, b, c).tolist(), a, b, c, strict=True):
        x, y, z = (Fraction(float(value)) for value in each)
        above = float(np.nextafter(np.float32(actual), np.float32(np.inf)))
        assert Fraction(actual) <= x * y + z < Fraction(above)


def test_fma_of_float64():
    random = np.random.default_rng(4)
    a, b = random.standard_normal((2, 500))
    c = -a * b + random.standard_normal(500) * 1e-20
    for actual, *each in zip(arithmetic.fma_float64(a, b, c).tolist(), a, b, c, strict=True):
        x, y, z = (Fraction(float(value)) for value in each)
        assert actual == float(x * y + z)


@pytest.mark.parametrize(
    ("name", "result", "kind", "expected"),
    [
        ("cvt.rmi.f32.f32", "f32", "f32", np.floor),
        ("cvt.rni.f64.f64", "f64", "f64", np.rint),
        ("cvt.f64.f32", "f64", "f32", lambda x: x.astype("f8")),
        ("cvt.rn.f32.s64", "f32", "s64", lambda x: x.astype("f4")),
        ("cvt.rn.f16.f32", "u16", "f32", lambda x: x.astype("f2").view("u2")),
        ("cvt.sat.f32.f32", "f32", "f32", lambda x: np.where(np.isnan(x), 0, np.clip(x, 0, 1))),
        (
            "cvt.rzi.s32.f32",
            "s32",
            "f32",
            lambda x: np.where(np.isnan(x), 0, np.clip(x.astype("f8"), -(2**31), 2**31 - 1)),
        ),
        ("cvt.s32.s8", "s32", "s32", lambda x: x.astype("i1").astype("i4")),
        ("cvt.u32.u16", "u32", "u32", lambda x: x & 0xFFFF),
    ],
)
def test_conversions(name, result, kind, expected):
    values = integers(kind, 5) if kind[0] in "su" else floats(NUMPY[kind], 5)
    actual = calculate(f"{name} %out, %a0", result, (kind, values))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(actual, expected(values).astype(NUMPY[result]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lt", lambda a, b: a < b),
        ("ne", lambda a, b: (a < b) | (a > b)),
        ("neu", lambda a, b: a != b),
        ("geu", lambda a, b: ~(a < b)),
    ],
)
def test_comparisons_with_nan(name, expected):
    a = np.array([1, 2, 2, np.nan, np.nan], "f4")
    b = np.array([2, 1, 2, 1, np.nan], "f4")
    body = f".reg .pred %p; setp.{name}.f32 %p, %a0, %a1; selp.u32 %out, 1, 0, %p"
    np.testing.assert_array_equal(calculate(body, "u32", ("f32", a), ("f32", b)), expected(a, b))


STORE_R2 = "mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd2, %rd3; st.global.u32 [%rd4], %r2;"


def test_threads_reconverge_after_a_loop():
    """Runs a loop i times in thread i. The store after it must be executed once per warp."""
    module = kernel(
        f"""
        mov.u32 %r2, 0;
        again: setp.ge.u32 %p1, %r2, %r1; @%p1 bra done;
        add.s32 %r2, %r2, 1; bra again;
        done: {STORE_R2}
        """
    )
    output = np.zeros(64, "u4")
    report = run(module, np.zeros(1, "u4"), output, block=64)
    np.testing.assert_array_equal(output, np.arange(64))
    assert [access.requests for access in report.accesses if access.space == "global"] == [2]


@pytest.mark.parametrize(
    ("mode", "lane", "bounds", "source"),
    [
        ("bfly", 5, 0x1F, lambda i: i ^ 5),
        ("up", 3, 0, lambda i: i - 3 if i >= 3 else i),
        ("down", 2, 0x101F, lambda i: i + 2 if i % 16 < 14 else i),
        ("idx", 7, 0x1F, lambda i: 7),
    ],
)
def test_shuffles(mode, lane, bounds, source):
    body = f"mul.lo.s32 %r3, %r1, 10; shfl.sync.{mode}.b32 %r2|%p1, %r3, {lane}, {bounds}, -1; {STORE_R2}"
    output = np.zeros(32, "u4")
    run(kernel(body), np.zeros(1, "u4"), output)
    np.testing.assert_array_equal(output, [10 * source(i) for i in range(32)])


def test_ballots():
    body = f"setp.lt.u32 %p1, %r1, 5; vote.sync.ballot.b32 %r2, %p1, -1; {STORE_R2}"
    output = np.zeros(64, "u4")
    run(kernel(body), np.zeros(1, "u4"), output, block=64)
    np.testing.assert_array_equal(output, [31] * 32 + [0] * 32)


SHARED = ".shared .align 4 .b8 values[256];"
REVERSED = f"""
    mov.u32 %r3, values; shl.b32 %r4, %r1, 2; add.s32 %r5, %r3, %r4; st.shared.u32 [%r5], %r1;
    BARRIER
    sub.s32 %r6, 63, %r1; shl.b32 %r7, %r6, 2; add.s32 %r8, %r3, %r7; ld.shared.u32 %r2, [%r8];
    {STORE_R2}
"""


def test_a_barrier_orders_shared_memory():
    output = np.zeros(64, "u4")
    report = run(
        kernel(REVERSED.replace("BARRIER", "bar.sync 0;"), SHARED), np.zeros(1, "u4"), output, block=64
    )
    np.testing.assert_array_equal(output, np.arange(64)[::-1])
    assert not report.races


@pytest.mark.parametrize("barrier", ["", "bar.warp.sync -1;"])
def test_a_race_in_shared_memory(barrier):
    report = run(
        kernel(REVERSED.replace("BARRIER", barrier), SHARED), np.zeros(1, "u4"), np.zeros(64, "u4"), block=64
    )
    assert [(race.space, race.kind) for race in report.races] == [("shared", "write, then read")]
    assert "ld.shared.u32" in str(report.races[0])


def test_a_race_between_blocks():
    report = run(kernel(f"mov.u32 %r2, %ctaid.x; {STORE_R2}"), np.zeros(1, "u4"), np.zeros(32, "u4"), grid=2)
    assert [(race.space, race.kind, race.count) for race in report.races] == [
        ("global", "different writes by one instruction", 32)
    ]


def test_shared_memory_begins_uninitialised():
    output = np.zeros(32, "u4")
    run(kernel(f"ld.shared.u32 %r2, [values]; {STORE_R2}", SHARED), np.zeros(1, "u4"), output)
    assert (output == 0xFFFFFFFF).all()


def test_a_barrier_that_combines_predicates():
    body = f"setp.ne.s32 %p1, %r1, 40; bar.red.and.pred %p2, 0, %p1; selp.u32 %r2, 1, 0, %p2; {STORE_R2}"
    output = np.full(64, 7, "u4")
    run(kernel(body), np.zeros(1, "u4"), output, block=64)
    assert (output == 0).all()
    run(kernel(body), np.zeros(1, "u4"), output[:32], block=32)
    assert (output[:32] == 1).all()


@pytest.mark.parametrize(
    ("body", "size", "message"),
    [
        (STORE_R2, 20, r"out-of-bounds write of 4 bytes at offset 80 of the output, of 80 bytes, by block \(0, 0, 0\) thread \(20, 0, 0\)"),
        ("ld.global.u32 %r2, [%rd2+2];", 32, "misaligned access of 4 bytes at offset 2 of the output"),
        ("ld.shared.u32 %r2, [values+256];", 32, "out-of-bounds read of 4 bytes at offset 256 of shared memory"),
        ("st.global.u32 [%rd1], %r2;", 32, "write to the read-only the input"),
        ("again: bra again;", 32, "an endless loop"),
        ("setp.lt.u32 %p1, %r1, 9; @%p1 bra other; bar.sync 0; bra end; other: bar.sync 0; end:", 32, "others of the block wait elsewhere"),
        ("setp.lt.u32 %p1, %r1, 9; @%p1 bra one; bar.sync 0; one: bar.warp.sync -1;", 32, "reached by only a part of a warp"),
        ("sin.approx.f32 %f1, %f2;", 32, "unsupported instruction: PTX line .*sin.approx.f32"),
        ("@%p1 st.global.u32 [%rd2], %r2;", 32, "unsupported guard"),
    ],
)  # fmt: skip
def test_faults(monkeypatch, body, size, message):
    monkeypatch.setattr(ptxrun.execute, "MAX_STEPS", 1000)
    input = np.zeros(4, "u4")
    input.flags.writeable = False
    with pytest.raises(ptxrun.PtxError, match=message):
        run(kernel(f"mov.u32 %r2, 0; setp.eq.u32 %p1, %r2, 0; {body}", SHARED), input, np.zeros(size, "u4"))


@pytest.mark.parametrize(("stride", "conflict"), [(4, 1), (8, 2), (128, 32)])
def test_bank_conflicts(stride, conflict):
    body = f"mul.lo.s32 %r3, %r1, {stride}; mov.u32 %r4, values; add.s32 %r5, %r3, %r4; ld.shared.u32 %r2, [%r5];"
    report = run(kernel(body, ".shared .align 4 .b8 values[4096];"), np.zeros(1, "u4"), np.zeros(1, "u4"))
    assert [access.conflict for access in report.accesses if access.space == "shared"] == [conflict]


@pytest.mark.parametrize(("stride", "sectors"), [(0, 1), (4, 4), (8, 8), (32, 32), (128, 32)])
def test_sectors(stride, sectors):
    body = f"mul.wide.u32 %rd3, %r1, {stride}; add.s64 %rd4, %rd1, %rd3; ld.global.u32 %r2, [%rd4];"
    report = run(kernel(body), np.zeros(1024, "u4"), np.zeros(1, "u4"))
    (access,) = (access for access in report.accesses if access.space == "global")
    assert (access.requests, access.lanes, access.sectors) == (1, 32, sectors)
    assert access.efficiency == min(1, 128 / (32 * sectors))


def test_sectors_that_blocks_share_are_counted_for_each_block():
    """Three blocks read the same 128 bytes twice."""
    body = "mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; ld.global.u32 %r2, [%rd4]; ld.global.u32 %r3, [%rd4];"
    device, input = ptxrun.Device(), np.zeros(1024, "u4")
    addresses = [device.bind(array) for array in (input, np.zeros(1, "u4"))]
    report = ptxrun.run(kernel(body), "kernel", 3, 32, addresses, device)
    assert sum(access.sectors for access in report.accesses if access.space == "global") == 3 * 2 * 4
    assert report.sectors_read_by_blocks == 3 * 4


def test_arguments_are_checked():
    module, device = kernel(""), ptxrun.Device()
    with pytest.raises(ptxrun.PtxError, match="takes 2 arguments, got 1"):
        ptxrun.run(module, "kernel", 1, 32, [0], device)
    with pytest.raises(ptxrun.PtxError, match="must have 8 bytes, got 3"):
        ptxrun.run(module, "kernel", 1, 32, [0, b"abc"], device)
    with pytest.raises(ptxrun.PtxError, match="up to 1024 threads"):
        ptxrun.run(module, "kernel", 1, 2048, [0, 0], device)
    with pytest.raises(ptxrun.PtxError, match="in the name of one kernel"):
        ptxrun.run(module, "other", 1, 32, [0, 0], device)
