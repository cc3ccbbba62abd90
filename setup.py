"""Builds the extension `pose2seg_ops._C`. All metadata is in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.append(str(Path(__file__).parent))  # setuptools does not add it

import build_config
import compile_extension

CSRC = compile_extension.CSRC


class BuildWithNinja(build_ext):
    """Compiles the extension, with CUDA kernels if nvcc is found."""

    def build_extension(self, extension: Extension) -> None:
        compiler = os.environ.get("CXX", "c++")
        build_config.check_compiler(compiler, Path(sysconfig.get_path("include")))
        toolkit = build_config.wanted_toolkit(os.environ)
        described = compile_extension.Extension(
            "_C",
            # The slowest to compile come first, so that the cores finish at about the same time.
            sources=[*sorted(CSRC.glob("cpu/*.cpp")), *sorted(CSRC.glob("ops/*.cpp"))],
            flags=["-O3", "-g0", *build_config.inlining_flags(compiler)],
        )
        if toolkit is None:
            print("\n*** pose2seg_ops is built WITHOUT CUDA kernels\n", file=sys.stderr)
        else:
            self._add_cuda(described, toolkit)
        folder = Path(
            "build", f"{sysconfig.get_config_var('SOABI')}-{'cuda' if toolkit else 'cpu'}"
        ).resolve()
        try:
            library = Path(self.get_ext_fullpath(extension.name))
            compile_extension.build(described, folder, library, build_config.max_jobs(os.environ))
        except subprocess.CalledProcessError as error:
            raise build_config.BuildError("pose2seg_ops did not compile: see above") from error

    def _add_cuda(self, described: compile_extension.Extension, toolkit: build_config.CudaToolkit) -> None:
        architectures = build_config.cuda_architectures(os.environ.get("TORCH_CUDA_ARCH_LIST"), toolkit)
        print(f"\n*** CUDA {toolkit.version} kernels for {' '.join(architectures)}\n", file=sys.stderr)
        described.nvcc = toolkit.nvcc
        described.cuda_sources = sorted(CSRC.glob("cuda/*.cu"))
        described.cuda_flags = build_config.architecture_flags(architectures)
        described.flags = [*described.flags, "-DPOSE2SEG_WITH_CUDA"]
        described.python_flags = [
            f"'-DPOSE2SEG_CUDA_VERSION=\"{toolkit.version}\"'",
            f"'-DPOSE2SEG_CUDA_ARCHITECTURES=\"{' '.join(architectures)}\"'",
        ]


setup(ext_modules=[Extension("pose2seg_ops._C", sources=[])], cmdclass={"build_ext": BuildWithNinja})
