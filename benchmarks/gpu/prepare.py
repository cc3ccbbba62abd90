"""`python3.12 -m benchmarks.gpu.prepare`: collects what a machine with a GPU but without network lacks.

It must run with the Python version of that machine, and needs nvcc and the network. It writes to build/gpu:
the wheel of this package with CUDA kernels for one architecture, wheels of other packages, and the golden
data next to the checkout, if they exist.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "build" / "gpu"

#: What such a machine may lack: what this package requires beside torch, numpy and OpenCV, what the tests
#: require beside pytest and hypothesis, and libraries to compare with.
PACKAGES = (
    *("filelock", "pycocotools", "safetensors", "tqdm"),
    *("ninja", "pybind11"),
    *("faster-coco-eval", "hotcoco", "kornia", "kornia-rs"),
)

_MOST = 60 << 20  # bytes of the checkout and the kit together, which are copied to the machine


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3.12 -m benchmarks.gpu.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--architecture", default="9.0", help="of the GPU (default: %(default)s, an H100 or H200)"
    )
    architecture = parser.parse_args().architecture
    shutil.rmtree(KIT, ignore_errors=True)
    build_wheel(architecture)
    _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(KIT), *PACKAGES)
    copy_golden_data(ROOT.parent / "shared" / "golden")
    print(check_size(files_to_copy()))


def build_wheel(architecture: str) -> None:
    """Builds this package with line numbers in its kernels, which profilers and sanitizers show."""
    settings = {
        "POSE2SEG_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": architecture,
        "NVCC_APPEND_FLAGS": f"{os.environ.get('NVCC_APPEND_FLAGS', '')} -lineinfo",
    }
    _pip("wheel", "--no-deps", "--wheel-dir", str(KIT), str(ROOT), **settings)


def _pip(*arguments: str, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet"], check=True, env=os.environ | environment
    )


def copy_golden_data(source: Path) -> None:
    if source.exists():
        shutil.copytree(source, KIT / "shared" / "golden")
    else:
        print(f"{source} is missing: the tests that need it will be skipped", file=sys.stderr)


def files_to_copy() -> list[Path]:
    """Returns the files of the checkout that git does not ignore, and those of the kit."""
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, text=True
    )
    return [
        *(ROOT / name for name in listed.split("\0") if name),
        *(p for p in KIT.rglob("*") if p.is_file()),
    ]


def check_size(files: Iterable[Path]) -> str:
    """Returns the size of the files in words. Raises SystemExit if they are too large to be copied."""
    total = sum(path.stat().st_size for path in files if path.exists())
    if total > _MOST:
        sys.exit(f"the checkout and {KIT} must have at most {_MOST >> 20} MiB, got {total >> 20}")
    return f"{KIT} is complete; with the checkout {total / (1 << 20):.1f} MiB"


if __name__ == "__main__":
    main()
