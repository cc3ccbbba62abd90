"""Compiles csrc/cuda/*.cu, or the files named, for all default architectures and without torch.

Fails on an error, a warning or a register spill.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
import build_config  # noqa: E402


def compile_file(nvcc: Path, architectures: list[str], source: Path) -> str:
    """Compiles one file and prints what ptxas says of it; returns why it fails, or nothing."""
    targets = []
    for architecture in architectures:
        number = architecture.replace(".", "").removesuffix("+PTX")
        codes = [f"sm_{number}", f"compute_{number}"] if architecture.endswith("+PTX") else [f"sm_{number}"]
        targets += [f"-gencode=arch=compute_{number},code={code}" for code in codes]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(nvcc), "-c", str(source), "-o", f"{folder}/out.o", f"-I{ROOT}/csrc", *targets]
        command += [*build_config.NVCC_FLAGS, "-Xptxas=-v", "-Werror=all-warnings"]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        return result.stdout
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", result.stdout)]
    print(
        f"{source.name}: {len(registers)} kernels over {len(architectures)} architectures, "
        f"at most {max(registers, default=0)} registers, {time.monotonic() - start:.0f} s",
        flush=True,
    )
    return "\n".join(f"{source.name}: {spill}" for spill in spills(result.stdout))


def spills(ptxas_output: str) -> Iterator[str]:
    """Architecture, function and bytes of every spill that `ptxas -v` reports."""
    architecture = function = ""
    for line in ptxas_output.splitlines():
        if match := re.search(r"Compiling entry function .* for '(\w+)'", line):
            architecture = match[1]
        elif match := re.search(r"Function properties for (\w+)", line):
            function = match[1]
        elif re.search(r"[1-9]\d* bytes spill", line):
            yield f"{architecture}: {function}: {line.strip()}"


def main() -> None:
    toolkit = build_config.find_cuda_toolkit(os.environ)
    if toolkit is None:
        sys.exit("nvcc was not found, neither in CUDA_HOME nor on PATH: install a CUDA toolkit")
    compile_one = partial(compile_file, toolkit.nvcc, build_config.cuda_architectures(None, toolkit))
    sources = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
    with ThreadPoolExecutor(build_config.max_jobs()) as pool:
        failures = [failure for failure in pool.map(compile_one, sources) if failure]
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
