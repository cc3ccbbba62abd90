"""The backends that every op test runs on."""

import sys
from types import ModuleType

import pytest
import torch
from cuda_emulation import NAME, load_emulated_extension

import pose2seg_ops
from pose2seg_ops import _C, _library, reference
from pose2seg_ops._build_info import CUDA_VERSION


class Backend:
    """One implementation of the ops, called as `backend.affine_align(...)`, and where its tensors live."""

    def __init__(self, name: str, ops: ModuleType, device: str = "cpu") -> None:
        self.name = name
        self.device = torch.device(device)
        self._ops = ops

    def __getattr__(self, op: str):
        return getattr(self._ops, op)

    @property
    def operators(self):
        """The registered operators with the kernels of this backend."""
        return getattr(torch.ops, NAME if self.name == "emulated" else _library.NAMESPACE)


@pytest.fixture(scope="session")
def emulated_extension() -> ModuleType:
    extension = load_emulated_extension()
    _library.register_all_in(extension.__name__)
    return extension


def _select(name: str, request: pytest.FixtureRequest) -> Backend:
    if name == "reference":
        return Backend(name, reference)
    if name == "emulated":
        extension = request.getfixturevalue("emulated_extension")
        monkeypatch = request.getfixturevalue("monkeypatch")
        for module in [sys.modules[key] for key in sys.modules if key.startswith("pose2seg_ops.")]:
            if getattr(module, "_C", None) is _C:
                monkeypatch.setattr(module, "_C", extension)
            if hasattr(module, "_operators"):
                monkeypatch.setattr(module, "_operators", getattr(torch.ops, extension.__name__))
    if name == "cuda":
        if CUDA_VERSION is None:
            pytest.skip("pose2seg_ops was built without CUDA kernels")
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        return Backend(name, pose2seg_ops, "cuda")
    return Backend(name, pose2seg_ops)


@pytest.fixture(params=["cpu", "emulated", "cuda"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The kernels: those for the CPU, the CUDA ones emulated on the CPU, and on a GPU where there is one."""
    return _select(request.param, request)


@pytest.fixture(params=["reference", "cpu", "emulated", "cuda"])
def implementation(request: pytest.FixtureRequest) -> Backend:
    """The kernels, and the pure-torch references beside them: for tests against an independent third."""
    return _select(request.param, request)
