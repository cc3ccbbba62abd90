import pytest
from kernel_report import ARCHITECTURES, Kernel

AMPERE, HOPPER, BLACKWELL = ARCHITECTURES


def kernel(name="paste<float>", threads=256, registers=32, shared_bytes=0, local_bytes=0, sass="LDG.E R1"):
    return Kernel(name, threads, registers, shared_bytes, local_bytes, sass)


@pytest.mark.parametrize(
    ("architecture", "resources", "warps"),
    [
        (AMPERE, {}, 64),
        (BLACKWELL, {}, 48),
        (AMPERE, {"registers": 58}, 32),
        (AMPERE, {"registers": 255}, 8),
        (HOPPER, {"threads": 32, "registers": 16}, 32),  # 32 blocks
        (AMPERE, {"shared_bytes": 40 << 10}, 32),  # 4 x (40 + 1) KiB
        (AMPERE, {"shared_bytes": (40 << 10) + 1}, 24),
        (BLACKWELL, {"shared_bytes": 49 << 10}, 16),
    ],
)
def test_occupancy(architecture, resources, warps):
    assert architecture.resident_warps(kernel(**resources)) == warps


@pytest.mark.parametrize(
    ("resources", "fault"),
    [
        ({"local_bytes": 16}, "local memory"),
        ({"name": "align_channels_last<float, int32, 4>"}, "16-byte loads"),
    ],
)
def test_faults(resources, fault):
    assert fault in next(kernel(**resources).faults())


@pytest.mark.parametrize("sass", ["LDG.E.128 R4", "LDG.E.128.CONSTANT R4", "LDG.E.CI.128 R4"])
def test_no_faults(sass):
    assert not list(kernel("align_channels_last<float, int32, 4>", sass=sass).faults())
    assert not list(kernel("align_channels_last<float, int32, 1>").faults())
