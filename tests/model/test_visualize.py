import warnings

import numpy as np
import numpy.typing as npt
from pose2seg.prediction.drawing import draw_comparison, draw_overlay, draw_templates

GREY = np.full((120, 160, 3), 100, np.uint8)
NOBODY = np.zeros((1, 17, 3), np.float32)


def disc(x: int, y: int, radius: int) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[: GREY.shape[0], : GREY.shape[1]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def changed(canvas: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.asarray((canvas != GREY).any(-1))


def test_without_people_the_image_is_unchanged() -> None:
    canvas = draw_overlay(GREY, np.zeros((0, 120, 160), bool), np.zeros((0, 17, 3), np.float32))
    np.testing.assert_array_equal(canvas, GREY)
    assert canvas is not GREY


def test_only_masks_are_tinted() -> None:
    mask = disc(60, 50, 30)
    canvas = draw_overlay(GREY, mask[None], NOBODY)
    assert changed(canvas)[mask].all()
    assert not changed(canvas)[~disc(60, 50, 33)].any()
    assert (GREY == 100).all(), "the given image must not change"


def test_people_have_different_colours() -> None:
    masks = np.stack([disc(40, 60, 20), disc(110, 60, 20)])
    canvas = draw_overlay(GREY, masks, np.repeat(NOBODY, 2, axis=0))
    assert (canvas[60, 40] != canvas[60, 110]).any()


def test_labelled_joints_and_the_limbs_between_them_are_drawn() -> None:
    pose = NOBODY.copy()
    pose[0, 5], pose[0, 7], pose[0, 16] = (30, 30, 2), (120, 90, 2), (150, 110, 0)
    drawn = changed(draw_overlay(GREY, np.zeros((1, 120, 160), bool), pose))
    assert drawn[[30, 90], [30, 120]].all(), "joints"
    assert drawn[60, 75], "the limb from shoulder to elbow"
    assert not drawn[110, 150], "a joint that is missing"
    assert drawn.mean() < 0.1


def test_occluded_joints_are_hollow() -> None:
    pose = NOBODY.copy()
    pose[0, 0], pose[0, 16] = (30, 30, 2), (120, 90, 1)
    canvas = draw_overlay(GREY, np.zeros((1, 120, 160), bool), pose)
    assert (canvas[30, 30] != 255).any()
    assert (canvas[90, 120] == 255).all()


def test_joints_at_any_distance_can_be_drawn() -> None:
    pose = np.full((1, 17, 3), 2, np.float32)
    pose[0, ::2, :2], pose[0, 1::2, :2] = -3e38, 3e38
    assert draw_overlay(GREY, np.ones((1, 120, 160), bool), pose).shape == GREY.shape


def test_templates_are_drawn_side_by_side_without_rare_joints() -> None:
    means = np.zeros((2, 17, 3))
    means[0, 5], means[0, 7], means[0, 16] = (0.25, 0.5, 1.5), (0.75, 0.5, 0.5), (0.5, 0.9, 0.3)
    canvas = draw_templates(means, ["46%", "32%"])
    assert canvas.shape == (320, 640, 3)
    drawn = (canvas != 255).any(-1)
    assert drawn[160, [80, 160, 240]].all(), "two joints and the limb between them"
    assert not drawn[280:310, 140:180].any(), "a joint that is rarely visible"
    assert not drawn[40:310, 330:630].any(), "a template without joints"
    assert drawn[:40, 5:60].any(), "its caption"


def test_templates_with_joints_at_any_distance_can_be_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_templates(np.full((1, 17, 3), 3e38), ["far"])


def test_a_comparison_outlines_both_masks_next_to_the_image() -> None:
    annotated, predicted = disc(40, 60, 25), disc(110, 60, 25)
    drawn = draw_comparison(GREY, annotated[None], predicted[None], "caption")
    height, width = GREY.shape[:2]
    assert drawn.shape == (height + 48, 2 * width, 3)
    np.testing.assert_array_equal(drawn[:height, :width], GREY)
    outlined = drawn[:height, width:]
    rims = [disc(x, 60, 29) & ~disc(x, 60, 20) for x in (40, 110)]
    np.testing.assert_array_equal(changed(outlined) & ~rims[0] & ~rims[1], False)
    left, right = outlined[60, 15].astype(int), outlined[60, 85].astype(int)
    assert left[2] > left[0], "annotated: orange"
    assert right[0] > right[2], "predicted: blue"


def test_a_comparison_without_masks_is_the_image_twice() -> None:
    nobody = np.zeros((0, *GREY.shape[:2]), bool)
    drawn = draw_comparison(GREY, nobody, nobody, "")
    np.testing.assert_array_equal(drawn[: GREY.shape[0]], np.hstack([GREY, GREY]))
