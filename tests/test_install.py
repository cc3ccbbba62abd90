"""What is built, against what, and what is said where that cannot be."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import setuptools
import torch
from compile_cuda import spills

import build_backend
import build_config
import pose2seg_ops
from build_config import BuildError, CudaToolkit
from pose2seg_ops import _compatibility

ROOT = Path(__file__).resolve().parents[1]
TOOLKIT = CudaToolkit(Path("/toolkit"), "13.1", ("7.5", "8.0", "8.6", "8.7", "9.0", "10.0"))


# The compiler


@pytest.mark.parametrize(
    ("version", "flags"), [("Debian clang version 19.1.7", 2), ("g++ (Debian) 12.2.0", 0)]
)
def test_only_clang_is_told_to_inline(monkeypatch, version, flags):
    monkeypatch.setattr(build_config, "_output", lambda *command: version)
    assert len(build_config.inlining_flags("c++")) == flags


# The torch to build against


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("installed", "requirement"),
    [
        ("2.13.0+cpu", "torch==2.13.0"),
        ("2.14.1", "torch==2.14.1"),
        ("2.15.0.dev1+cu130", "torch==2.15.0.dev1"),
    ],
)
def test_package_requires_the_release_it_was_built_against(monkeypatch, installed, requirement):
    monkeypatch.setattr(importlib.metadata, "version", {"torch": installed}.__getitem__)
    assert build_config.torch_requirement() == requirement


def test_torch_is_asked_for_only_where_there_is_none(monkeypatch):
    assert build_backend.get_requires_for_build_wheel() == []
    assert build_backend.get_requires_for_build_editable() == []
    without_torch(monkeypatch)
    assert build_backend.get_requires_for_build_wheel() == ["torch>=2.9.0,<=2.14.1"]
    assert build_backend.get_requires_for_build_editable() == ["torch>=2.9.0,<=2.14.1"]
    assert build_backend.get_requires_for_build_sdist() == []


@pytest.mark.parametrize("release", ["2.9.0", "2.13.0", "2.15.0", "2.9.0a0", "3.0"])
def test_tested_and_newer_torch_is_taken(release):
    build_config.check_torch(release)


def test_old_or_missing_torch_is_refused():
    with pytest.raises(BuildError, match=r"needs torch 2\.9\.0 or newer, and here is torch 2\.8\.1"):
        build_config.check_torch("2.8.1")
    with pytest.raises(BuildError, match=r"here is none.*\n    pip install"):
        build_config.check_torch(None)


@pytest.fixture
def isolated_python(tmp_path) -> list[str]:
    """A Python that sees setuptools and not the rest of the environment, as pip's build isolation makes it."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    site = Path(setuptools.__file__).parents[1]
    for path in [*site.glob("setuptools*"), site / "_distutils_hack"]:
        (overlay / path.name).symlink_to(path)
    return ["env", f"PYTHONPATH={overlay}{os.pathsep}{ROOT}", sys.executable, "-S", "-c"]


def test_torch_is_found_through_build_isolation(isolated_python):
    program = """
from importlib.util import find_spec
assert find_spec("torch") is None
import build_backend
assert build_backend.get_requires_for_build_editable() == []
print(find_spec("torch").origin)
"""
    found = subprocess.run([*isolated_python, program], capture_output=True, text=True, cwd="/")
    assert found.stdout.strip() == torch.__file__, found.stderr


OF_A_BUILD = ("_build_info.py", ".so", ".pyc")


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of the checkout, in which something was built."""
    ignored = shutil.ignore_patterns(".*", "build", "shared", "__pycache__")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=ignored)
    (source / "pose2seg_ops" / "_build_info.py").touch()
    return source


def files_in(folder: Path) -> set[str]:
    """The files below a folder, but for what a build adds."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(OF_A_BUILD)]
    return {str(path.relative_to(folder.parent)) for path in files}


def test_source_distribution_needs_no_torch(isolated_python, source, tmp_path):
    program = "import sys, build_backend; build_backend.build_sdist('..'); assert 'torch' not in sys.modules"
    made = subprocess.run([*isolated_python, program], capture_output=True, text=True, cwd=source)
    assert made.returncode == 0, made.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2]: name for name in archive.getnames()}
        metadata = archive.extractfile(names["PKG-INFO"])
        assert metadata is not None
        fields = metadata.read().decode().splitlines()
    assert "Requires-Dist: torch<=2.14.1,>=2.9.0" in fields
    assert f"Version: {pose2seg_ops.__version__}" in fields
    assert not [name for name in names if name.endswith(OF_A_BUILD)]
    # All that is built and tested; a file that is not there is one that MANIFEST.in or package-data forgets.
    folders = ("benchmarks", "csrc", "docs", "examples", "models", "pose2seg_ops", "tests", "tools")
    for folder in folders:
        assert names.keys() >= {name for name in files_in(source / folder) if ".egg-info/" not in name}
    assert names.keys() >= {"LICENSE", "README.md", "build_config.py", "setup.py"}


def test_a_wheel_has_the_packages_with_all_their_files_and_nothing_else(isolated_python, source, tmp_path):
    """But for the extension, which setup.py leaves out where it makes a source distribution as well."""
    wheel = tmp_path / "wheel"
    commands = ["-q", "sdist", "build_py", "--build-lib", str(wheel)]
    subprocess.run(
        [*isolated_python[:-1], "setup.py", *commands], check=True, cwd=source, capture_output=True
    )
    packages = {
        "pose2seg_ops": source / "pose2seg_ops",
        "pose2seg": source / "models" / "pose2seg",
        "pose2seg_command": source / "models" / "pose2seg_command",
    }
    assert {path.name for path in wheel.iterdir()} == packages.keys()
    for name, folder in packages.items():
        assert files_in(wheel / name) == files_in(folder)


# Compilers


def test_missing_compiler_is_named_with_the_ways_to_install_one(tmp_path):
    with pytest.raises(BuildError, match=r"'no-such-c\+\+' was not found[^$]*apt install g\+\+.*dnf.*conda"):
        build_config.check_compiler("no-such-c++", tmp_path)


def test_missing_python_headers_are_named_with_the_ways_to_install_them(tmp_path):
    with pytest.raises(BuildError, match=rf"{tmp_path} has no Python\.h[^$]*apt install python3-dev.*dnf"):
        build_config.check_compiler("sh", tmp_path)
    (tmp_path / "Python.h").touch()
    build_config.check_compiler("sh", tmp_path)


@pytest.mark.parametrize(("cores", "memory", "jobs"), [(2, 64, 2), (16, 8, 4), (8, 1, 1), (1, 64, 1)])
def test_jobs_fit_cores_and_memory(monkeypatch, cores, memory, jobs):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(build_config, "_available_memory", lambda: memory << 30)
    assert build_config.max_jobs() == jobs


def test_available_memory_is_some_of_the_machine():
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine // 1000 < build_config._available_memory() <= machine


# CUDA kernels or not


@pytest.mark.parametrize(
    ("switch", "cuda", "hip", "toolkit", "reason"),
    [
        ("auto", "13.0", None, TOOLKIT, None),  # another minor version is no obstacle
        ("1", "13.0", None, TOOLKIT, None),
        ("0", "13.0", None, TOOLKIT, "POSE2SEG_CUDA=0"),
        ("0", "12.8", None, TOOLKIT, "POSE2SEG_CUDA=0"),
        ("auto", None, None, TOOLKIT, "torch is a CPU build"),
        ("auto", None, "7.0", TOOLKIT, "torch is a ROCm build"),
        ("auto", "13.0", None, None, "no working nvcc was found, neither in CUDA_HOME nor on PATH"),
    ],
)
def test_kernels_are_built_where_torch_is_for_cuda_and_nvcc_is_there(switch, cuda, hip, toolkit, reason):
    assert build_config.why_no_cuda(switch, cuda, hip, toolkit) == reason


@pytest.mark.parametrize(
    ("switch", "cuda", "hip", "toolkit", "messages"),
    [
        ("yes", "13.0", None, TOOLKIT, ["must be auto, 0 or 1, got 'yes'"]),
        ("", None, None, None, ["must be auto, 0 or 1, got ''"]),
        ("1", None, None, TOOLKIT, ["torch is a CPU build", "Install a torch for CUDA", "POSE2SEG_CUDA=0"]),
        ("1", None, "7.0", TOOLKIT, ["torch is a ROCm build", "Install a torch for CUDA"]),
        ("1", "13.0", None, None, ["no working nvcc", "install the CUDA 13.0 toolkit", "set CUDA_HOME"]),
        *(
            (
                switch,
                "12.8",
                None,
                TOOLKIT,
                [
                    "CUDA 13.1 (in /toolkit)",
                    "torch is of CUDA 12.8",
                    "install the CUDA 12.8 toolkit",
                    "set CUDA_HOME",
                    "set POSE2SEG_CUDA=0",
                ],
            )
            for switch in ("auto", "1")
        ),
    ],
)
def test_what_cannot_be_built_is_said_with_the_ways_out(switch, cuda, hip, toolkit, messages):
    with pytest.raises(BuildError) as error:
        build_config.why_no_cuda(switch, cuda, hip, toolkit)
    assert [text for text in messages if text not in str(error.value)] == []


def test_architectures_are_those_that_nvcc_knows_and_the_newest_as_ptx():
    assert build_config.cuda_architectures(None, TOOLKIT) == ["7.5", "8.0", "8.6", "9.0", "10.0+PTX"]
    assert build_config.cuda_architectures("", TOOLKIT) == ["7.5", "8.0", "8.6", "9.0", "10.0+PTX"]
    every = CudaToolkit(Path(), "13.0", build_config.CUDA_ARCHITECTURES)
    assert build_config.cuda_architectures(None, every) == [
        *("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0+PTX")
    ]


@pytest.mark.parametrize("requested", ["8.6;9.0+PTX", "8.6 9.0+PTX"])
def test_architectures_that_are_asked_for_are_taken(requested):
    assert build_config.cuda_architectures(requested, TOOLKIT) == ["8.6", "9.0+PTX"]


NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release 12.9, V12.9.41" ;;
--dryrun) echo "#$ _HERE_=$(dirname "$0")" >&2; echo "#$ TOP=$(dirname "$0")/.." >&2 ;;
--list-gpu-arch) echo compute_75; echo compute_90; echo compute_90a; echo compute_120 ;;
esac
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def toolkit(tmp_path) -> CudaToolkit:
    nvcc = script(tmp_path / "cuda" / "bin" / "nvcc", NVCC)
    return CudaToolkit(nvcc.parents[1], "12.9", ("7.5", "9.0", "12.0"))


def test_toolkit_is_found_behind_a_wrapper_script_on_path(toolkit, tmp_path):
    wrapper = script(tmp_path / "bin" / "nvcc", f'#!/bin/sh\nexec {toolkit.nvcc} "$@"\n')
    assert build_config.find_cuda_toolkit({"PATH": str(wrapper.parent)}) == toolkit


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_toolkit_of_the_environment_goes_before_path(toolkit, tmp_path, variable):
    other = script(tmp_path / "other" / "bin" / "nvcc", NVCC)
    environment = {"PATH": str(other.parent), variable: str(toolkit.root)}
    assert build_config.find_cuda_toolkit(environment) == toolkit


def test_home_without_nvcc_and_nvcc_that_does_not_work_are_no_toolkit(toolkit, tmp_path):
    environment = {"PATH": str(toolkit.nvcc.parent), "CUDA_HOME": str(tmp_path)}
    assert build_config.find_cuda_toolkit(environment) is None
    toolkit.nvcc.write_text("#!/bin/sh\nexec no-such-toolkit/bin/nvcc\n")
    assert build_config.find_cuda_toolkit({"PATH": str(toolkit.nvcc.parent)}) is None


def test_spills_are_read_from_what_ptxas_says():
    ptxas = """
ptxas info    : Compiling entry function 'fit' for 'sm_90'
ptxas info    : Function properties for fit
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'fit' for 'sm_100'
ptxas info    : Function properties for fit
    8 bytes stack frame, 4 bytes spill stores, 40 bytes spill loads
"""
    assert list(spills(ptxas)) == [
        "sm_100: fit: 8 bytes stack frame, 4 bytes spill stores, 40 bytes spill loads"
    ]


# Beside another torch


@pytest.fixture
def checkout(monkeypatch, tmp_path) -> Path:
    """The place of the package, in a checkout."""
    (tmp_path / "setup.py").touch()
    monkeypatch.setattr(_compatibility, "__file__", str(tmp_path / "pose2seg_ops" / "_compatibility.py"))
    return tmp_path


def built_against(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    info = ModuleType("_build_info")
    info.TORCH_VERSION = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pose2seg_ops._build_info", info)


def test_extension_is_taken_beside_its_own_torch(monkeypatch):
    built_against(monkeypatch, str(torch.__version__))
    _compatibility.check_extension()


def test_extension_that_was_never_built(monkeypatch, checkout):
    monkeypatch.setitem(sys.modules, "pose2seg_ops._build_info", None)
    with pytest.raises(ImportError, match=rf"has not been built[^$]*pip install .* -e {checkout}$"):
        _compatibility.check_extension()


def test_extension_of_another_python(monkeypatch, checkout):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="was built for another Python than this 3"):
        _compatibility.check_extension()


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({"url": "file:///src/pose2seg"}, "file:///src/pose2seg"),
        ({"url": "file:///a/pose2seg_ops-0.1.0-cp311-cp311-linux_x86_64.whl"}, "PATH_OR_URL_OF_THE_SOURCE"),
        (None, "pose2seg_ops"),
    ],
)
def test_build_command_names_where_the_package_came_from(monkeypatch, checkout, origin, source):
    built_against(monkeypatch, "1.0")
    (checkout / "setup.py").unlink()
    distribution = SimpleNamespace(read_text=lambda name: json.dumps(origin) if origin else None)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: distribution)
    with pytest.raises(ImportError) as error:
        _compatibility.check_extension()
    assert str(error.value).endswith(f"--no-binary pose2seg_ops {source}")


def test_extension_beside_another_torch_is_not_loaded(tmp_path):
    package = tmp_path / "pose2seg_ops"
    installed = Path(_compatibility.__file__).parent
    shutil.copytree(installed, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / "_build_info.py").write_text('TORCH_VERSION = "1.0.0+cu999"\n')
    (package / "_C.py").write_text('print("loaded")\n')
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import pose2seg_ops"]
    imported = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")
    message = f"was built against torch 1.0.0+cu999, but torch {torch.__version__} is installed"
    assert message in imported.stderr
    assert imported.stderr.splitlines()[-2].startswith("ImportError: ")
    assert "loaded" not in imported.stdout
