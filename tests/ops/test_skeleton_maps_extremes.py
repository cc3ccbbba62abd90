"""Property tests of skeleton_maps and its gradient on arbitrary shapes, strides and keypoints."""

import torch
from hypothesis import strategies as st
from strategies import generator, in_memory, many_cases, memory, put, seeds, sizes, spikes

from pose2seg_ops import reference

LIMBS = ((0, 1), (1, 2), (2, 0), (1, 1))


def people(seed, maps, count, extent, spiked, dtype):
    """Returns (maps, count, 3, 3), a third of the joints occluded; all are distinct except for the spikes."""
    random = generator(seed)
    position = extent * (1.4 * torch.rand(maps, count, 3, 2, generator=random, dtype=torch.float64) - 0.2)
    visibility = torch.randint(0, 3, (maps, count, 3, 1), generator=random)
    return put(spiked, torch.cat((position, visibility), -1).to(dtype))


def is_plain(keypoints):
    """Whether rounding cannot hide the line of a limb, and no two joints coincide or lie on a threshold."""
    position = keypoints[..., :2]
    far = (position.abs() > 1e6).any() or ((position.abs() < 1e-30) & (position != 0)).any()
    values = position[position.isfinite()]
    return not far and len(values.unique()) == len(values) and not (values == values.round()).any()


@many_cases(
    seed=seeds,
    maps=st.integers(0, 2),
    count=st.integers(0, 3),
    size=sizes(9),
    spiked=spikes(),
    stride=st.sampled_from((1, 1, 2, 7, 2**40)),
    limb_overlap=st.sampled_from(("last", "mean")),
    signed=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float64)),
    kind=memory,
    grad_kind=memory,
)
def test_values_and_gradient(
    backend, seed, maps, count, size, spiked, stride, limb_overlap, signed, dtype, kind, grad_kind
):
    """Values are finite, and equal the reference unless rounding hides the line of a limb."""
    extent = 9.0 * min(stride, 7)
    keypoints = people(seed, maps, count, extent, spiked, dtype).to(backend.device)
    leaf = in_memory(kind, keypoints).requires_grad_()
    options = {"limbs": LIMBS, "stride": stride, "limb_overlap": limb_overlap, "signed_visibility": signed}
    drawn = backend.skeleton_maps(leaf, size, **options)
    assert (drawn.abs() <= 1.5).all()  # the direction of denormal numbers is rounded to this
    grad = torch.randn(drawn.shape, generator=generator(seed), dtype=torch.float64).to(drawn)
    (gradient,) = torch.autograd.grad(drawn, leaf, in_memory(grad_kind, grad))
    assert gradient.isfinite().all()
    assert torch.count_nonzero(gradient[~leaf.detach().isfinite()]) == 0
    exact = keypoints.double().requires_grad_()
    expected = reference.skeleton_maps(exact, size, **options)
    plain = is_plain(keypoints)
    cut = 3 + 2 * len(LIMBS) if plain else 3
    if dtype == torch.float32:  # at a threshold it may round to the other side
        off = (drawn.double() - expected).abs()[:, :cut] > 1e-5
        assert off.sum() <= 4
        plain = plain and not off.any()
    else:
        torch.testing.assert_close(drawn[:, :cut], expected[:, :cut], rtol=0, atol=1e-9)
    if plain and count:
        (wanted,) = torch.autograd.grad(expected, exact, grad.double())
        tolerance = 1e-9 if dtype == torch.float64 else 1e-3
        torch.testing.assert_close(gradient.double(), wanted, rtol=tolerance, atol=tolerance)
