"""Tests of the predictions in docs/roofline.md, against hand calculations and against the document."""

import pytest
import torch
from every_op import OPS
from paths import ROOT

from benchmarks import instructions, roofline, traffic
from benchmarks.case import OURS, find_cases
from benchmarks.roofline import Gpu, Work

GPU = Gpu("small", "NVIDIA Small", bandwidth=1e9, multiprocessors=2, clock=1e6)


@pytest.mark.parametrize(
    ("work", "seconds", "limit"),
    [(Work(2_000_000, {"copy": 8000}), 2e-3, "memory"), (Work(1000, {"a": 8000, "b": 16000}), 3e-3, "issue")],
)
def test_the_longer_time_is_the_limit(work, seconds, limit):
    assert GPU.seconds(work) == pytest.approx(seconds)
    assert GPU.limit(work) == limit


def work_of(name):
    case = next(case for case in find_cases() if str(case) == name)
    arguments = case.inputs(torch.device("cpu"))
    return roofline.work_of(case.op, arguments, case.implementations[OURS](*arguments))


def test_affine_align_moves_window_and_output():
    work = work_of("affine_align-N=1-channels_last-bfloat16")
    output = 256 * 64 * 64
    window = round(64 * 64 / 0.7**2) * 256
    assert work.bytes == pytest.approx(2 * (output + window) + 24 + 8, abs=2 * 256)
    assert work.instructions == {"align_channels_last": pytest.approx(15.5 * output / 32)}


def test_features_are_read_once_however_many_windows_overlap():
    work = work_of("affine_align-N=32-contiguous-float32")
    assert work.bytes == 4 * 256 * (32 * 64 * 64 + 128 * 128) + 32 * (24 + 8)


def test_gradients():
    of_input = work_of("affine_align_backward_to_input-N=1-contiguous-float32")
    of_matrices = work_of("affine_align_backward_to_matrices-N=1-channels_last-float32")
    values, window = 256 * 64 * 64, round(64 * 64 / 0.7**2) * 256
    assert of_input.bytes == 4 * (values + 256 * 128 * 128) + 24
    assert of_matrices.bytes == pytest.approx(4 * (values + window) + 2 * 24, abs=4 * 256)
    assert of_input.instructions == {"gather_planes": pytest.approx(310 * values / 32)}
    assert of_matrices.instructions == {"sum_tiles": pytest.approx(63.3 * values / 32)}


def test_every_op_is_predicted():
    assert set(OPS) <= set(traffic.MODELS) == set(instructions.MODELS)


def test_a_count_that_is_not_documented():
    with pytest.raises(LookupError, match=r"one row with instructions of .*'fft'.*, got 0"):
        instructions.documented(kernel="fft")


def test_the_document_holds_what_the_models_say():
    small = [c for c in find_cases() if c.op in traffic.MODELS and c.scale is not None and c.scale.size == 1]
    lines = roofline.document(small).splitlines()
    document = (ROOT / "docs" / "roofline.md").read_text().splitlines()
    assert len(lines) > len(OPS)
    assert set(lines) <= set(document)
    assert any("Nothing here was measured" in line for line in document)
