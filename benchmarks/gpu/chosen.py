"""The benchmark cases whose kernels are measured one by one."""

from benchmarks.case import Case, find_cases

#: Ops that return run lengths, which are copied to the host; a CUDA graph cannot hold them.
RUN_LENGTHS = ("paste_rle", "encode_rle")
#: Ops and gradients that launch our kernels and little else.
KERNELS = (
    "affine_align",
    "affine_align backward to input",
    "affine_align backward to matrices",
    "align_with_skeleton",
    "align_with_skeleton backward",
    "skeleton_maps",
    "skeleton_maps backward",
    "fit_pose_templates",
    "paste_masks",
    "letterbox",
)


#: Numbers of instances, from a fraction of a GPU to several times as many as it holds.
SIZES = (1, 8, 32, 128)


def cases_of(ops: tuple[str, ...], *, sizes: tuple[int, ...] = SIZES) -> list[Case]:
    """Returns the cases of these ops with these numbers of instances or images, in the order of the ops."""
    cases = [case for case in find_cases() if case.scale is not None and case.scale.size in sizes]
    return [case for op in ops for case in cases if case.op == op]
