"""Tests of building and installing, and of the error messages if that is impossible."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import ninja
import pybind11
import pytest
import setuptools
from paths import ROOT

import build_config
import pose2seg_ops
from build_config import BuildError, CudaToolkit
from pose2seg_ops._extension import _C

TOOLKIT = CudaToolkit(Path("/toolkit"), "13.1", ("7.5", "8.0", "8.6", "8.7", "9.0", "10.0"))


# The compiler


@pytest.mark.parametrize(
    ("version", "flags"), [("Debian clang version 19.1.7", 2), ("g++ (Debian) 12.2.0", 0)]
)
def test_only_clang_gets_inlining_flags(monkeypatch, version, flags):
    monkeypatch.setattr(build_config, "_output", lambda *command: version)
    assert len(build_config.inlining_flags("c++")) == flags


# Distributions


@pytest.fixture
def isolated_python(tmp_path) -> list[str]:
    """Returns a Python that sees only the build tools, as in the build isolation of pip."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    for tool in (setuptools, ninja, pybind11):
        package = Path(str(tool.__file__)).parent
        for path in package.parent.glob(f"{package.name}*"):
            (overlay / path.name).symlink_to(path)
    (overlay / "_distutils_hack").symlink_to(Path(setuptools.__file__).parents[1] / "_distutils_hack")
    return ["env", f"PYTHONPATH={overlay}", sys.executable, "-S", "-c"]


OF_A_BUILD = (".so", ".pyc")


@pytest.fixture
def source(tmp_path) -> Path:
    """Returns a copy of the checkout."""
    ignored = shutil.ignore_patterns(".*", "build", "shared", "__pycache__")
    return shutil.copytree(ROOT, tmp_path / "source", ignore=ignored)


def files_in(folder: Path) -> set[str]:
    """Returns the files below a folder, except for those that a build adds."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(OF_A_BUILD)]
    return {str(path.relative_to(folder.parent)) for path in files}


def test_source_distribution_needs_no_torch(isolated_python, source, tmp_path):
    program = "from setuptools import build_meta; build_meta.build_sdist('..')"
    made = subprocess.run([*isolated_python, program], capture_output=True, text=True, cwd=source)
    assert made.returncode == 0, made.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2]: name for name in archive.getnames()}
        metadata = archive.extractfile(names["PKG-INFO"])
        assert metadata is not None
        fields = metadata.read().decode().splitlines()
    assert "Requires-Dist: torch>=2.10" in fields
    assert f"Version: {pose2seg_ops.__version__}" in fields
    assert not [name for name in names if name.endswith(OF_A_BUILD)]
    # Everything that is built and tested; a missing file was forgotten in MANIFEST.in or package-data.
    folders = ("benchmarks", "csrc", "docs", "examples", "models", "pose2seg_ops", "tests", "tools")
    for folder in folders:
        left_out = (".egg-info/", "tests/golden/", "models/weights/")  # excluded for their size
        assert names.keys() >= {
            name for name in files_in(source / folder) if not any(part in name for part in left_out)
        }
    assert names.keys() >= {"LICENSE", "README.md", "build_config.py", "compile_extension.py", "setup.py"}


def test_a_wheel_has_the_packages_with_all_their_files_and_nothing_else(isolated_python, source, tmp_path):
    """Ignores the extension, which takes a minute to compile."""
    wheel = tmp_path / "wheel"
    commands = ["-q", "build_py", "--build-lib", str(wheel)]
    subprocess.run(
        [*isolated_python[:-1], "setup.py", *commands], check=True, cwd=source, capture_output=True
    )
    packages = {
        "pose2seg_ops": source / "pose2seg_ops",
        "pose2seg": source / "models" / "pose2seg",
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


def test_parallel_jobs_are_the_cores_or_max_jobs(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5})
    assert build_config.max_jobs({}) == 3
    assert build_config.max_jobs({"MAX_JOBS": "1"}) == 1


# CUDA kernels


@pytest.mark.parametrize(("switch", "wanted"), [(None, True), ("auto", True), ("1", True), ("0", False)])
def test_cuda_kernels_are_compiled_if_nvcc_is_found(toolkit, switch, wanted):
    environment = {"CUDA_HOME": str(toolkit.root), **({"POSE2SEG_CUDA": switch} if switch else {})}
    assert build_config.wanted_toolkit(environment) == (toolkit if wanted else None)


@pytest.mark.parametrize("switch", ["auto", "0"])
def test_a_build_without_nvcc_succeeds(tmp_path, switch):
    assert build_config.wanted_toolkit({"CUDA_HOME": str(tmp_path), "POSE2SEG_CUDA": switch}) is None


@pytest.mark.parametrize(
    ("switch", "messages"),
    [
        ("yes", ["must be auto, 0 or 1, got 'yes'"]),
        ("", ["must be auto, 0 or 1, got ''"]),
        ("1", ["no working nvcc", "cuda-downloads", "set CUDA_HOME"]),
    ],
)
def test_build_errors_say_what_to_do(tmp_path, switch, messages):
    with pytest.raises(BuildError) as error:
        build_config.wanted_toolkit({"CUDA_HOME": str(tmp_path), "POSE2SEG_CUDA": switch})
    assert [text for text in messages if text not in str(error.value)] == []


def test_flags_name_every_architecture():
    assert build_config.architecture_flags(["9.0", "12.0+PTX"]) == [
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]


def test_architectures_are_those_that_nvcc_knows_and_the_newest_as_ptx():
    assert build_config.cuda_architectures(None, TOOLKIT) == ["7.5", "8.0", "8.6", "9.0", "10.0+PTX"]
    assert build_config.cuda_architectures("", TOOLKIT) == ["7.5", "8.0", "8.6", "9.0", "10.0+PTX"]
    every = CudaToolkit(Path(), "13.0", build_config.CUDA_ARCHITECTURES)
    assert build_config.cuda_architectures(None, every) == [
        *("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0+PTX")
    ]


@pytest.mark.parametrize("requested", ["8.6;9.0+PTX", "8.6 9.0+PTX"])
def test_requested_architectures_are_used(requested):
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


def test_a_broken_toolkit_is_not_found(toolkit, tmp_path):
    environment = {"PATH": str(toolkit.nvcc.parent), "CUDA_HOME": str(tmp_path)}
    assert build_config.find_cuda_toolkit(environment) is None
    toolkit.nvcc.write_text("#!/bin/sh\nexec no-such-toolkit/bin/nvcc\n")
    assert build_config.find_cuda_toolkit({"PATH": str(toolkit.nvcc.parent)}) is None


# Import errors


def imported_beside(tmp_path: Path, torch_module: str, ignored: str) -> str:
    """Returns the message of Python when it imports a copy of the package, without some files, with another
    `torch`."""
    installed = Path(pose2seg_ops.__file__).parent
    shutil.copytree(
        installed, tmp_path / "pose2seg_ops", ignore=shutil.ignore_patterns(ignored, "__pycache__")
    )
    (tmp_path / "torch.py").write_text(torch_module)
    command = [sys.executable, "-S", "-c", "import pose2seg_ops._extension"]
    (tmp_path / "pose2seg_ops" / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/").stderr


def test_an_older_torch_is_refused_in_one_line(tmp_path):
    said = imported_beside(tmp_path, '__version__ = "2.9.1"\nclass Tensor: pass', "nothing")
    expected = "ImportError: pose2seg_ops needs torch 2.10 or newer, got torch 2.9.1"
    assert said.splitlines()[-1] == expected


def test_a_missing_extension_is_reported_with_the_command(tmp_path):
    module = "class Tensor: __dlpack_c_exchange_api__ = None"
    assert "have not been compiled for this Python" in imported_beside(tmp_path, module, "_C.*")


def test_the_extension_depends_on_no_library_of_torch_or_cuda():
    needed = subprocess.run(["readelf", "--dynamic", _C.__file__], capture_output=True, text=True, check=True)
    libraries = re.findall(r"NEEDED.*\[(.*)\]", needed.stdout)
    assert libraries
    assert [name for name in libraries if re.search("torch|c10|cuda|python", name)] == []
