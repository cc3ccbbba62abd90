"""Tests of the predictions in docs/roofline.md, against hand calculations and against the document."""

import json
from typing import Any

import pytest
import torch
from every_op import OPS
from paths import ROOT

from benchmarks import counts, roofline, traffic
from benchmarks.case import OURS, find_cases
from benchmarks.counts import Counts
from benchmarks.roofline import GPUS, Gpu, Work

GPU = Gpu(
    "small", "NVIDIA Small", memory=1e9, l2=1e10, multiprocessors=2, clock=1e6, launch=1e-4
)  # issues 8e6 instructions a second


@pytest.mark.parametrize(
    ("bytes", "kernels", "seconds", "limit"),
    [
        (2_000_000, {"a": Counts(8000)}, 2e-3, "memory"),
        (1000, {"a": Counts(8000), "b": Counts(16000)}, 3e-3, "issue"),
        (1000, {"a": Counts(8000, l1_sectors=32000, l2_sectors=1_250_000)}, 4e-3, "L2"),
        (1000, {"a": Counts(8000, l1_sectors=16000), "b": Counts(l1_sectors=24000)}, 5e-3, "L1"),
        (1000, {"a": Counts(8), "b": Counts()}, 2e-4, "launch"),
    ],
)
def test_the_longest_time_is_the_limit(bytes, kernels, seconds, limit):
    work = Work(bytes, kernels)
    assert GPU.seconds(work) == pytest.approx(seconds)
    assert GPU.limit(work) == limit


def work_of(name):
    case = next(case for case in find_cases() if str(case) == name)
    arguments = case.inputs(torch.device("cpu"))
    return roofline.work_of(case.op, arguments, case.implementations[OURS](*arguments))


ROW = {"kernel": "align_channels_last", "case": "float16", "of": "32 values"}  # also of bfloat16


def test_affine_align_moves_window_and_output():
    work = work_of("affine_align-N=1-channels_last-bfloat16")
    output = 256 * 64 * 64
    window = round(64 * 64 / 0.7**2) * 256
    assert work.bytes == pytest.approx(2 * (output + window) + 24 + 8, abs=2 * 256)
    assert work.kernels == {"align_channels_last": counts.documented(**ROW) * (output / 32)}


def test_features_are_read_once_however_many_windows_overlap():
    work = work_of("affine_align-N=32-contiguous-float32")
    assert work.bytes == 4 * 256 * (32 * 64 * 64 + 128 * 128) + 32 * (24 + 8)


def test_gradients():
    of_input = work_of("affine_align_backward_to_input-N=1-contiguous-float32")
    of_matrices = work_of("affine_align_backward_to_matrices-N=1-channels_last-float32")
    values, window = 256 * 64 * 64, round(64 * 64 / 0.7**2) * 256
    assert of_input.bytes == 4 * (values + 256 * 128 * 128) + 24
    assert of_matrices.bytes == pytest.approx(4 * (values + window) + 2 * 24, abs=4 * 256)
    written = counts.documented(kernel="gather", case="contiguous", of="32 values of the input's gradient")
    covered = counts.documented(kernel="gather", case="contiguous", of="32 values of the output's gradient")
    summed = counts.documented(kernel="sum_tiles", case="channels_last")
    gathered = of_input.kernels.pop("gather_planes").instructions
    assert gathered == written.instructions * 8 * 128 * 128 + covered.instructions * values / 32
    assert of_matrices.kernels.pop("sum_tiles") == summed * (values / 32)
    assert of_input.kernels == {"find_footprints": Counts()}
    assert of_matrices.kernels == {"sum_instances": Counts()}


def test_every_op_is_predicted():
    assert set(OPS) <= set(traffic.MODELS) == set(counts.MODELS)


def test_a_count_that_is_not_documented():
    with pytest.raises(LookupError, match=r"one row with counts of .*'fft'.*, got 0"):
        counts.documented(kernel="fft")


def test_the_document_holds_what_the_models_say():
    small = [c for c in find_cases() if c.op in traffic.MODELS and c.scale is not None and c.scale.size == 1]
    lines = roofline.document(small, GPUS).splitlines()
    document = (ROOT / "docs" / "roofline.md").read_text().splitlines()
    assert len(lines) > len(OPS)
    assert set(lines) <= set(document)
    assert any("Nothing here was measured" in line for line in document)


def test_measured_ceilings_replace_those_of_the_data_sheet():
    rows: list[dict[str, Any]] = [
        {"step": "facts", "name": "machine", "value": "NVIDIA H200"},
        {"step": "memory", "value": 4e12},
        {"step": "memory", "outcome": "passed", "seconds": 1.0},
        {"step": "launch", "value": 3e-6},
    ]
    gpu, known = roofline.measured_gpu(map(json.dumps, rows)), roofline.gpu_called("NVIDIA H200")
    assert known is not None
    assert (gpu.memory, gpu.l2, gpu.launch) == (4e12, known.l2, 3e-6)
    rows[0]["value"] = "NVIDIA Small"
    with pytest.raises(SystemExit, match=r"must be one of .*NVIDIA H200, got NVIDIA Small"):
        roofline.measured_gpu(map(json.dumps, rows))
