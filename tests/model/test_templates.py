import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import golden_path, load_golden
from pose2seg import InputError, load_templates


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def template() -> list[float]:
    """Returns joint j at (j, 100 + j), with visibility 0.39 for the nose, 0.4 for an ankle, otherwise 2."""
    joints = [[j, 100 + j, 2.0] for j in range(17)]
    joints[0][2], joints[15][2] = 0.39, 0.4
    return [number for joint in joints for number in joint]


def test_the_official_file_gives_the_official_templates() -> None:
    expected = load_golden("align.npz")["templates"]
    templates = load_templates(golden_path("templates_official.json"))
    np.testing.assert_array_equal(templates.numpy(), expected.astype(np.float32))


def test_rarely_visible_joints_are_dropped(tmp_path: Path) -> None:
    templates = load_templates(write(tmp_path / "t.json", {"templates": [template()]}))
    assert templates[0, 0].tolist() == [0, 0, 0]
    assert templates[0, 15].tolist() == pytest.approx([15, 115, 0.4])


def test_mirrored_templates_follow_with_left_and_right_swapped(tmp_path: Path) -> None:
    other = [number + 1000 for number in template()]
    templates = load_templates(write(tmp_path / "t.json", {"templates": [template(), other]}))
    assert templates.shape == (4, 17, 3)
    swapped = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    np.testing.assert_array_equal(templates[2:], templates[:2, swapped])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'expected an object with a list "templates"'),
        ({"templates": []}, 'expected an object with a list "templates"'),
        (
            {"templates": [[0.1] * 51]},
            r"t.json: one of the templates must have at least 3 joints.*got 1 templates with",
        ),
        ({"templates": [[0.5] * 51, [0.5] * 50]}, r"templates\[1\] must be 51 numbers"),
        ({"templates": [0.5]}, r"templates\[0\] must be 51 numbers"),
        ({"templates": [["a"] * 51]}, r"templates\[0\] must be finite in float32, got 'a'"),
        ({"templates": [[True] * 51]}, r"templates\[0\] must be finite in float32, got True"),
        ({"templates": [[float("nan")] * 51]}, r"templates\[0\] must be finite in float32, got nan"),
        (
            {"templates": [[0.5] * 51, [10**400] * 51]},
            r"templates\[1\] must be finite in float32, got 1000",
        ),
    ],
)
def test_a_file_of_another_form_is_rejected(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_templates(write(tmp_path / "t.json", content))
