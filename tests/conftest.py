"""The backends that every op test runs on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import torch
import twins
from shared_data import shared_module
from thread_count import thread_count

import pose2seg_ops
from pose2seg_ops import _operator, reference
from pose2seg_ops._extension import _C

ROOT = Path(__file__).resolve().parents[1]
# Last: here and in spawned processes, what is installed is imported, not the packages that lie beside these.
sys.path += [str(ROOT), str(ROOT / "tools"), str(ROOT / "examples")]

if torch.__version__ < "2.13":  # where it is not the default, as docs/using_the_ops.md tells
    torch._dynamo.config.capture_dynamic_output_shape_ops = True

# The same cases in every run; `pytest --hypothesis-profile=explore` draws others.
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
    """One implementation of the ops, called as `backend.affine_align(...)`, and where its tensors live."""

    def __init__(self, name: str, ops: ModuleType, device: str = "cpu", namespace: str = _operator.NAMESPACE):
        self.name = name
        self.device = torch.device(device)
        self.operators = getattr(torch.ops, namespace)  # the registered operators with these kernels
        self._ops = ops

    def __getattr__(self, op: str):
        return getattr(self._ops, op)


@pytest.fixture(autouse=True)
def forget_what_was_compiled() -> Iterator[None]:
    """Else torch.compile counts the cases of one test as recompilations, and gives up after eight."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture(scope="session")
def interpreter() -> ModuleType:
    """Of PTX, which ptx.py makes of the kernels."""
    return shared_module("tools/ptxrun/ptxrun.py")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For work so small that several threads would wait for each other longer than they work."""
    with thread_count(1):
        yield


@pytest.fixture(scope="session")
def emulated_extension(pytestconfig: pytest.Config) -> ModuleType:
    return _registered(twins.load_emulated(pytestconfig.getoption("sanitize")))


@pytest.fixture(scope="session")
def cpu_extension(pytestconfig: pytest.Config) -> ModuleType:
    return _registered(twins.load_sanitized_cpu()) if pytestconfig.getoption("sanitize") else _C


def _registered(extension: ModuleType) -> ModuleType:
    if extension is not _C:
        _operator.register_extension(extension.__name__, extension)
    return extension


def _select(name: str, request: pytest.FixtureRequest) -> Iterator[Backend]:
    if name == "reference":
        yield Backend(name, reference)
    elif name == "cuda":
        if _C.cuda_version is None:
            pytest.skip("pose2seg_ops was built without CUDA kernels")
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        yield Backend(name, pose2seg_ops, "cuda")
    else:
        extension = request.getfixturevalue(f"{name}_extension")
        namespace = _operator.NAMESPACE if extension is _C else extension.__name__
        with _operator.using_extension(namespace, extension):
            yield Backend(name, pose2seg_ops, namespace=namespace)


@pytest.fixture(params=["cpu", "emulated", "cuda"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The kernels: those for the CPU, the CUDA ones emulated on the CPU, and on a GPU where there is one."""
    yield from _select(request.param, request)


@pytest.fixture(params=["reference", "cpu", "emulated", "cuda"])
def implementation(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The kernels, and the pure-torch references beside them: for tests against an independent third."""
    yield from _select(request.param, request)
