"""The extension `pose2seg_ops._C`: sources, flags, CUDA architectures. The metadata is in pyproject.toml."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import setup

import build_config

REQUIREMENTS = [
    "filelock>=3.30",  # older ones leave locks to forked workers
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "safetensors",
    "tqdm",
    build_config.torch_requirement(),
]


def extension() -> dict[str, Any]:
    """The arguments of setup() that describe the extension, for the torch that is installed."""
    build_config.check_torch(build_config.torch_release())
    build_config.check_compiler(os.environ.get("CXX", "c++"), Path(sysconfig.get_path("include")))
    import torch

    toolkit = build_config.find_cuda_toolkit(os.environ)
    switch = os.environ.get("POSE2SEG_CUDA", "auto")
    why_no_cuda = build_config.why_no_cuda(switch, torch.version.cuda, torch.version.hip, toolkit)
    architectures: list[str] = []
    if toolkit and not why_no_cuda:
        architectures = build_config.cuda_architectures(os.environ.get("TORCH_CUDA_ARCH_LIST"), toolkit)
        os.environ["CUDA_HOME"] = str(toolkit.root)
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(architectures)
    else:
        print(f"\n*** pose2seg_ops is built WITHOUT CUDA kernels: {why_no_cuda}\n", file=sys.stderr)
    os.environ.setdefault("MAX_JOBS", str(build_config.max_jobs()))
    os.environ["PATH"] += os.pathsep + sysconfig.get_path("scripts")  # for ninja

    # Imported only now, because it reads CUDA_HOME at its import.
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension, include_paths

    class BuildExtensionAndInfo(BuildExtension):
        def finalize_options(self) -> None:
            super().finalize_options()
            # A folder that stays, to compile only what has changed, and that no other torch uses.
            self.build_temp = str(Path("build", f"torch-{torch.__version__}").resolve())

        def run(self) -> None:
            super().run()
            info = Path(self.get_ext_fullpath("pose2seg_ops._C")).with_name("_build_info.py")
            info.write_text(
                '"""Written by setup.py, described in _build_info.pyi."""\n\n'
                f"TORCH_VERSION = {str(torch.__version__)!r}\n"
                f"CUDA_VERSION = {None if why_no_cuda else torch.version.cuda!r}\n"
                f"CUDA_ARCHITECTURES = {tuple(architectures)!r}\n"
                f"WHY_NO_CUDA = {why_no_cuda!r}\n"
            )

    # -fopenmp is for at::parallel_for. It is not given to the linker, so that the extension uses whatever
    # OpenMP runtime torch has loaded, and never brings a second one with threads of its own.
    # -ffp-contract=off, because a formula that is written in two places has to round alike in both.
    flags = ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp", "-ffp-contract=off", "-Wall", "-Wextra"]
    flags += build_config.inlining_flags(os.environ.get("CXX", "c++"))
    flags += [f"-isystem{path}" for path in include_paths()]  # no warnings from torch's own headers
    patterns = ["bindings.cpp", "ops/*.cpp", "cpu/*.cpp"]
    if not why_no_cuda:
        flags += ["-DPOSE2SEG_WITH_CUDA"]
        patterns += ["cuda/*.cu"]
    module = (CppExtension if why_no_cuda else CUDAExtension)(
        "pose2seg_ops._C",
        sources=[str(path) for pattern in patterns for path in sorted(Path("csrc").glob(pattern))],
        include_dirs=[str(Path("csrc").resolve())],
        extra_compile_args={"cxx": flags, "nvcc": build_config.NVCC_FLAGS},
    )
    return {"ext_modules": [module], "cmdclass": {"build_ext": BuildExtensionAndInfo}}


# A source distribution is made without torch.
setup(install_requires=REQUIREMENTS, **({} if "sdist" in sys.argv else extension()))
