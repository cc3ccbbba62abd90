"""`pose2seg export`: a model for other runtimes."""

import argparse
import logging
import sys
import time
import warnings

from pose2seg.commands import arguments
from pose2seg.export import FORMATS, export_core
from pose2seg.files import atomic_writer, require_distinct_files

_DESCRIPTION = """\
Write a model for another runtime: letterboxed images and poses in, a probability
map and a matrix for each person out, for any number of images and people.

formats:
  onnx   standard operators of ONNX, for onnxruntime and others; float32
         It needs onnx and onnxscript: pip install 'pose2seg_ops[export]'
  aoti   a package of AOTInductor for C++ or Python, which needs the release of
         torch that wrote it and nothing else; compiled here, which needs a C++
         compiler, for this kind of processor, or for the GPU of --device
  torch  a program of torch.export with the operators of pose2seg_ops, for Python;
         it runs on the --device that it is exported for

docs/deploy.md has the inputs and outputs, and code to run each.
"""

_EXAMPLES = """\
examples:
  pose2seg export --output pose2seg.onnx
  pose2seg export --format aoti --weights pose2seg_release.pkl \\
      --templates modeling/templates.json --output pose2seg.pt2
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "export",
        help="write a model for another runtime, such as ONNX",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--output", required=True, type=arguments.path, metavar="FILE", help="the file to write")
    option("--format", choices=FORMATS, default="onnx", help="of the file, see above (default: %(default)s)")
    arguments.add_model(parser)
    arguments.add_device(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    device = arguments.find_device(options.device)
    require_distinct_files([options.weights, options.templates], [(options.output, "the exported model")])
    model = arguments.load_model(options).to(device)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of a torchvision that nothing needs
    with warnings.catch_warnings(), atomic_writer(options.output) as file:
        warnings.simplefilter("ignore")  # of torch's own, about torch
        content = FORMATS[options.format](export_core(model))
        file.write(content)
    seconds = time.perf_counter() - start
    summary = f"{options.output}: {options.format}, {len(content) / 1e6:.1f} MB in {seconds:.1f} s"
    print(summary, file=sys.stderr)  # stdout may be the output
