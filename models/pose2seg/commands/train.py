"""`pose2seg train`: images of people with poses and masks in, weights out."""

import argparse
import dataclasses
import sys
import time
from typing import get_args

from pose2seg import distributed
from pose2seg.checkpoint import load_imagenet_weights
from pose2seg.commands import arguments
from pose2seg.commands.messages import dataset_warnings
from pose2seg.dataset import read_dataset
from pose2seg.files import require_distinct_files
from pose2seg.model import Pose2Seg
from pose2seg.templates import DEFAULT_TEMPLATES, load_templates
from pose2seg.training import PRESETS, Recipe, make_model, train
from pose2seg.training.recipe import BatchNorm, Precision
from pose2seg.training.train import training_files

_DESCRIPTION = """\
Train Pose2Seg on images of people, each with a pose and a mask.

The annotations are in COCO's format, as for `pose2seg evaluate`. An image or a
person that cannot be used is left out, and a warning says which and why.

The output folder gets
  last.safetensors  the model, after each epoch
  best.safetensors  the model with the best average precision, with --validation
  losses.csv        loss and learning rate of each step
  metrics.csv       the scores after each epoch, with --validation
  recipe.json       all settings
  state.pt          what --resume goes on from
Whenever a training is stopped, --resume goes on from its last state as if it
had not been.

presets:
  official  the original's: Adam, 25 epochs of 4 images and up to 8 people
  modern    AdamW, a cosine, averaged weights and more augmentation, 50 epochs
  small     the small network of this package, on crops with people pasted in
"""

_EXAMPLES = """\
examples:
  pose2seg train person_keypoints_train2017.json train2017 --output run \\
      --validation person_keypoints_val2017.json val2017 \\
      --imagenet-weights resnet50.pth --precision bfloat16

on two GPUs, which share each batch:
  torchrun --nproc-per-node 2 --no-python pose2seg train ...

exit codes: 0 done, 2 something to put right, told in one line, 130 interrupted
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "train",
        help="images with poses and masks in, weights out",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_dataset(parser)
    parser.add_argument_group("required options").add_argument(
        "--output", required=True, type=arguments.path, metavar="FOLDER", help="for the files listed above"
    )
    _add_files(parser)
    _add_recipe(parser)
    _add_running(parser)
    parser.set_defaults(run=_run)


def _add_files(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--validation",
        nargs=2,
        type=arguments.path,
        metavar=("ANNOTATIONS", "FOLDER"),
        help="evaluate on these after each epoch",
    )
    option(
        "--templates",
        type=arguments.path,
        metavar="FILE",
        help="pose templates, a JSON file in the official format (default: those in the file of --weights, "
        "of which official weights hold none; without --weights those of this package)",
    )
    start = parser.add_mutually_exclusive_group().add_argument
    start(
        "--weights",
        type=arguments.path,
        metavar="FILE",
        help="go on from this model, a .safetensors file of this package or the official weights, whatever "
        "size the preset has",
    )
    start(
        "--imagenet-weights",
        type=arguments.path,
        metavar="FILE",
        help="start the backbone from torchvision's ResNet-50",
    )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", choices=PRESETS, default="modern", help="the recipe (default: %(default)s)"
    )
    option = parser.add_argument_group("changes to the preset").add_argument
    option("--epochs", type=arguments.positive, metavar="N", help="passes over all images")
    option("--batch-size", type=arguments.positive, metavar="N", help="images in a step, of all processes")
    option("--people", type=arguments.positive, metavar="N", help="at most so many people in a step")
    option("--learning-rate", type=arguments.positive_number, metavar="X", help="the highest one")
    option("--seed", type=arguments.seed, metavar="N", help="of weights, order and augmentation")
    option("--precision", choices=get_args(Precision), help="the last two are mixed with float32")
    option(
        "--batch-norm",
        choices=get_args(BatchNorm),
        help="normalise by the batch of each process, of all (on GPUs only), or keep the statistics of the "
        "weights that are started from",
    )


def _add_running(parser: arguments.Parser) -> None:
    arguments.add_device(parser)
    option = parser.add_argument
    option("--resume", action="store_true", help="go on from the last state in the output folder, if any")
    option(
        "--save-every",
        type=arguments.positive,
        default=1000,
        metavar="N",
        help="steps between states, which are also kept after each epoch (default: %(default)s)",
    )
    option(
        "--workers",
        type=arguments.not_negative,
        default=2,
        metavar="N",
        help="processes that decode images, for each that trains (default: %(default)s)",
    )
    option("--tensorboard", action="store_true", help="also write the curves for TensorBoard")


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    recipe = _recipe(options)
    inputs = [options.annotations, options.weights, options.imagenet_weights, options.templates]
    validated = options.validation[:1] if options.validation else []
    require_distinct_files([*inputs, *validated], training_files(options.output))
    with distributed.joined(arguments.find_device(options.device)) as device, dataset_warnings():
        images = read_dataset(options.annotations, options.images)
        validation = read_dataset(*options.validation) if options.validation else []
        train(
            _initial_model(options, recipe),
            images,
            recipe,
            options.output,
            validation=validation,
            device=device,
            workers=options.workers,
            save_every=options.save_every,
            resume=options.resume,
            tensorboard=options.tensorboard,
        )
        if distributed.rank() == 0:
            seconds = time.perf_counter() - start
            print(f"{options.output}: {recipe.epochs} epochs, done in {seconds:.0f} s", file=sys.stderr)


def _recipe(options: argparse.Namespace) -> Recipe:
    names = ("epochs", "batch_size", "people", "learning_rate", "seed", "precision", "batch_norm")
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return dataclasses.replace(PRESETS[options.preset], **changes)


def _initial_model(options: argparse.Namespace, recipe: Recipe) -> Pose2Seg:
    if options.weights is not None:
        return arguments.load_model(options)
    model = make_model(recipe, load_templates(options.templates or DEFAULT_TEMPLATES))
    if options.imagenet_weights is not None:
        load_imagenet_weights(model.backbone, options.imagenet_weights)
    return model
