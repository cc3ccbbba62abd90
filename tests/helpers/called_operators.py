"""Records which operators of torch run."""

from torch.utils._python_dispatch import TorchDispatchMode


class CalledOperators(TorchDispatchMode):
    """Collects the names of the operators that are called in this context, without their namespace."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.name().split("::")[1])
        return function(*args, **kwargs or {})

    def ours(self) -> list[str]:
        """Returns the calls of the operators of pose2seg_ops that have gradients, and of those gradients."""
        return [name for name in self.names if name.startswith(("affine_", "skeleton_", "align_"))]
