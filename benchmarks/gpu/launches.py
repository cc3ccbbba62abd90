"""`python -m benchmarks.gpu.launches`: runs cases once, under a profiler or a sanitizer.

Only the run of our implementation is between the start and the stop of the profiler.
"""

import argparse

import torch

from benchmarks.case import OURS, Case
from benchmarks.gpu.chosen import KERNELS, RUN_LENGTHS, cases_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.launches", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of cases (default: all with one instance or image)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    options = parser.parse_args()
    known = {str(case): case for case in cases_of(KERNELS + RUN_LENGTHS)}
    for name in options.cases or map(str, cases_of(KERNELS + RUN_LENGTHS, sizes=(1,))):
        print(name, flush=True)
        launch(known[name], options.device)


def launch(case: Case, device: torch.device) -> None:
    arguments = case.inputs(device)
    if device.type != "cuda":
        case.implementations[OURS](*arguments)
        return
    torch.cuda.synchronize(device)
    with torch.cuda.profiler.profile():
        case.implementations[OURS](*arguments)
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
