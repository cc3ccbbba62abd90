"""Fixtures: the backends that every op test runs on."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Read when torch is imported. Threads that wait for work would otherwise keep the cores busy that the other
# processes of `pytest -n auto` need, which nearly doubles the time of some files.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import compiled_extensions
import hypothesis
import pytest
import torch
from backends import ON_GPU
from paths import ROOT
from thread_count import thread_count

import pose2seg_ops
from pose2seg_ops import _operator, reference
from pose2seg_ops._extension import _C

# Appended last, so that this and spawned processes import the installed packages, not those in the checkout.
sys.path += [str(ROOT), str(ROOT / "tools"), str(ROOT / "examples")]

if torch.__version__ < "2.13":  # it is the default in later releases, see docs/using_the_ops.md
    torch._dynamo.config.capture_dynamic_output_shape_ops = True

# Deterministic by default; `pytest --hypothesis-profile=explore` draws new cases.
hypothesis.settings.register_profile("reproducible", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile("reproducible")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sanitize",
        action="store_true",
        help="build the kernels with AddressSanitizer and UndefinedBehaviorSanitizer (see tools/sanitize.sh)",
    )


class Backend:
    """An implementation of the ops, called as `backend.affine_align(...)`, and the device of its tensors."""

    def __init__(self, name: str, ops: ModuleType, device: str = "cpu", namespace: str = _operator.NAMESPACE):
        self.name = name
        self.device = torch.device(device)
        self.operators = getattr(torch.ops, namespace)  # the registered operators with these kernels
        self._ops = ops

    def __getattr__(self, op: str):
        return getattr(self._ops, op)


@pytest.fixture(autouse=True)
def forget_what_was_compiled() -> Iterator[None]:
    """Resets torch.compile, which would otherwise count the cases of a test as recompilations and give up
    after eight."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Uses one thread, for work so small that several threads would mostly wait for each other."""
    with thread_count(1):
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the inputs of `pose2seg predict`."""
    from predict_command import write_files  # imports the model, which tests of the ops do not need

    return write_files(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="session")
def emulated_extension(pytestconfig: pytest.Config) -> ModuleType:
    return _registered(compiled_extensions.load_emulated(pytestconfig.getoption("sanitize")))


@pytest.fixture(scope="session")
def cpu_extension(pytestconfig: pytest.Config) -> ModuleType:
    return _registered(compiled_extensions.load_sanitized_cpu()) if pytestconfig.getoption("sanitize") else _C


def _registered(extension: ModuleType) -> ModuleType:
    if extension is not _C:
        _operator.register_extension(extension.__name__, extension)
    return extension


def _select(name: str, request: pytest.FixtureRequest) -> Iterator[Backend]:
    if name == "reference":
        yield Backend(name, reference)
    elif name == "cuda":
        yield Backend(name, pose2seg_ops, "cuda")
    else:
        extension = request.getfixturevalue(f"{name}_extension")
        namespace = _operator.NAMESPACE if extension is _C else extension.__name__
        with _operator.using_extension(namespace, extension):
            yield Backend(name, pose2seg_ops, namespace=namespace)


@pytest.fixture(params=["cpu", "emulated", ON_GPU])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The kernels: the CPU kernels, the CUDA kernels emulated on the CPU, and on a GPU if there is one."""
    yield from _select(request.param, request)


@pytest.fixture(params=["reference", "cpu", "emulated", ON_GPU])
def implementation(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The kernels and the pure-torch references, for tests that compare with a third implementation."""
    yield from _select(request.param, request)
