"""The arguments of `pose2seg export`."""

import argparse

from pose2seg.commands.parsers import arguments
from pose2seg.common.choices import EXPORT_FORMATS

_DESCRIPTION = """\
Write a model for another runtime. Its inputs are letterboxed images and poses,
and its outputs a probability map and a matrix for each person, for any number
of images and people.

formats:
  onnx   standard ONNX operators in float32, for onnxruntime and other runtimes;
         this needs onnx and onnxscript: pip install 'pose2seg_ops[export]'
  aoti   an AOTInductor package for C++ or Python, which needs only the release
         of torch that wrote it. It is compiled for this type of processor, or
         for the GPU of --device; this needs a C++ compiler
  torch  a torch.export program with the operators of pose2seg_ops, for Python;
         it runs on the --device that it is exported for

docs/deploy.md describes the inputs and outputs, and has code to run each.
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
    option(
        "--format",
        choices=EXPORT_FORMATS,
        default="onnx",
        help="the format of the file, see above (default: %(default)s)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
