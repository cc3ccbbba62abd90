"""Runs the example that replaces the pooling of a torchvision detector, where there is a torchvision."""

import pytest

pytest.importorskip("torchvision")

import detector_pooling


def test_a_detector_with_our_pooling_finds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    detector_pooling.main()  # compares the detections
    assert capsys.readouterr().out == "100 detections, the same with both\n"
