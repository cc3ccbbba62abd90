"""`pose2seg export`: writes a model for other runtimes."""

import argparse
import logging
import sys
import time
import warnings

from pose2seg.commands.options import find_device, load_model
from pose2seg.common.files import atomic_writer, require_distinct_files
from pose2seg.network.export import FORMATS, export_core


def run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    device = find_device(options.device)
    require_distinct_files([options.weights, options.templates], [(options.output, "the exported model")])
    model = load_model(options).to(device)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # its warnings about torchvision do not matter
    with warnings.catch_warnings(), atomic_writer(options.output) as file:
        warnings.simplefilter("ignore")  # torch's own warnings about torch
        content = FORMATS[options.format](export_core(model))
        file.write(content)
    seconds = time.perf_counter() - start
    summary = f"{options.output}: {options.format}, {len(content) / 1e6:.1f} MB in {seconds:.1f} s"
    print(summary, file=sys.stderr)  # stdout may be the output
