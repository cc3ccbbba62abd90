"""Property tests of align_with_skeleton and its gradients on arbitrary shapes, strides, poses and
matrices."""

import torch
from hypothesis import strategies as st
from strategies import (
    conventions,
    generator,
    in_memory,
    indices,
    many_cases,
    memory,
    put,
    seeds,
    sizes,
    spikes,
)

LIMBS = ((0, 1), (1, 2))


@many_cases(
    seed=seeds,
    shape=st.tuples(st.integers(1, 3), *[st.integers(1, 7)] * 2),
    size=sizes(8),
    spiked_matrices=spikes(),
    spiked_keypoints=spikes(),
    index=st.tuples(indices, indices),
    convention=conventions,
    dtype=st.sampled_from((torch.float32, torch.float64, torch.float16, torch.bfloat16)),
    kind=memory,
    grad_kind=memory,
)
def test_equals_the_two_ops(
    backend, seed, shape, size, spiked_matrices, spiked_keypoints, index, convention, dtype, kind, grad_kind
):
    """Windows and their gradient must have the bits of affine_align; skeletons must be those of transformed
    keypoints."""
    random = generator(seed)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    input = torch.randn(2, *shape, generator=random, dtype=torch.float64).to(backend.device, dtype)
    matrices = torch.eye(2, 3) + torch.randn(2, 2, 3, generator=random)
    matrices = put(spiked_matrices, matrices.to(geometry)).to(backend.device)
    keypoints = torch.cat((9 * torch.rand(2, 3, 2, generator=random), torch.ones(2, 3, 1)), -1)
    keypoints = put(spiked_keypoints, keypoints.to(geometry)).to(backend.device)
    batch_index = torch.tensor(index, device=backend.device)
    leaves = [in_memory(kind, tensor).requires_grad_() for tensor in (input, keypoints, matrices)]
    output = backend.align_with_skeleton(
        *leaves, batch_index, size, convention=convention, limbs=LIMBS, sigma=2.0
    )
    windows, skeletons = output.tensor_split((shape[0],), 1)
    sampled = leaves[0].detach().requires_grad_()
    alone = backend.affine_align(sampled, matrices, batch_index, size, convention=convention)
    assert torch.equal(windows, alone)
    assert (skeletons.abs() <= 1.5).all()  # the direction of denormal numbers is rounded to this

    grad = torch.randn(output.shape, generator=random, dtype=torch.float64).to(output)
    grad_input, grad_keypoints, grad_matrices = torch.autograd.grad(
        output, leaves, in_memory(grad_kind, grad)
    )
    assert torch.equal(grad_input, torch.autograd.grad(alone, sampled, grad[:, : shape[0]])[0])
    assert torch.count_nonzero(grad_keypoints[..., 2]) == 0
    numbers = torch.cat((keypoints.flatten(), matrices.flatten()))
    if (numbers[numbers.isfinite()].abs() < 1e8).all():  # otherwise a product may overflow
        assert grad_keypoints.isfinite().all()
        assert grad_matrices.isfinite().all()
    if spiked_matrices or spiked_keypoints:
        return
    moved = keypoints[..., :2] @ matrices[..., :2].mT + matrices[:, None, :, 2]
    moved = torch.cat((moved, keypoints[..., 2:]), -1).requires_grad_()
    drawn = backend.skeleton_maps(moved, size, limbs=LIMBS, sigma=2.0, dtype=dtype)
    off = (drawn - skeletons).abs() > 4 * torch.finfo(dtype).eps + 1e-4
    assert off.sum() <= 4  # at a threshold, rounding decides
    if not off.any():
        (grad_moved,) = torch.autograd.grad(drawn, moved, grad[:, shape[0] :])
        expected = grad_moved[..., :2] @ matrices[..., :2]
        scale = 1 + expected.abs().max().item()
        torch.testing.assert_close(grad_keypoints[..., :2], expected, rtol=1e-3, atol=1e-3 * scale)
