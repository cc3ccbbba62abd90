"""`pose2seg train`: trains a model on images of people with poses and masks."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence

import torch

from pose2seg.commands.messages import dataset_warnings
from pose2seg.commands.options import find_device, load_model
from pose2seg.common import distributed
from pose2seg.common.choices import BUNDLED_WEIGHTS, FEW_IMAGES
from pose2seg.common.errors import InputError
from pose2seg.common.files import require_distinct_files
from pose2seg.common.text import counted
from pose2seg.data.dataset import PersonImage, read_dataset
from pose2seg.network.checkpoint import load_encoder_weights
from pose2seg.network.model import Pose2Seg
from pose2seg.network.templates import DEFAULT_TEMPLATES, load_templates
from pose2seg.training import PRESETS, Recipe, make_model, train
from pose2seg.training.train import training_files


def run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    inputs = [options.annotations, options.weights, options.encoder_weights, options.templates]
    validated = options.validation[:1] if options.validation else []
    require_distinct_files([*inputs, *validated], training_files(options.output))
    with distributed.joined(find_device(options.device)) as device, dataset_warnings():
        images = read_dataset(options.annotations, options.images)
        validation = read_dataset(*options.validation) if options.validation else []
        by_default = options.preset is None
        _choose_preset(options, len(images))
        recipe = _recipe(options).on(device)
        model = _initial_model(options, recipe)
        if distributed.rank() == 0:
            told = _describe(options, recipe, images, validation, device)
            print(told + (" (the default)" if by_default else ""), file=sys.stderr)
        try:
            train(
                model,
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
        except KeyboardInterrupt:
            if distributed.rank() == 0 and (options.output / "state.pt").exists():
                done = f"the state is in {options.output}; run the same command with --resume to continue"
                print(f"pose2seg: interrupted: {done}", file=sys.stderr)
            raise
        if distributed.rank() == 0:
            seconds = time.perf_counter() - start
            epochs = counted(recipe.epochs, "epoch", "epochs")
            print(f"{options.output}: {epochs}, done in {seconds:.0f} s", file=sys.stderr)


def _choose_preset(options: argparse.Namespace, images: int) -> None:
    """Sets the defaults of the preset and of the initial weights."""
    if options.preset is None:
        has_encoder = options.encoder is not None or options.encoder_weights is not None
        options.preset = "fine-tune" if images < FEW_IMAGES and not has_encoder else "modern"
    if options.weights is None and options.preset == "fine-tune":
        options.weights = BUNDLED_WEIGHTS


def _describe(
    options: argparse.Namespace,
    recipe: Recipe,
    images: Sequence[PersonImage],
    validation: Sequence[PersonImage],
    device: torch.device,
) -> str:
    """Returns a description of the training, in one line that ends with its preset."""
    validated = f", validated on {_counts(validation)}" if validation else ""
    epochs = counted(recipe.epochs, "epoch", "epochs")
    steps = counted(recipe.steps_per_epoch(len(images)), "step", "steps")
    weights = "the small model" if options.weights == BUNDLED_WEIGHTS else options.weights
    return (
        f"training on {_counts(images)}{validated}: {epochs} of {steps}, on {device} in {recipe.precision}, "
        f"from {weights or 'random weights'}, with the preset {options.preset}"
    )


def _counts(images: Sequence[PersonImage]) -> str:
    people = counted(sum(len(image.people) for image in images), "person", "people")
    return f"{counted(len(images), 'image', 'images')} with {people}"


def _recipe(options: argparse.Namespace) -> Recipe:
    names = (
        "epochs",
        "batch_size",
        "people",
        "learning_rate",
        "encoder_rate",
        "frozen_stages",
        "seed",
        "precision",
        "batch_norm",
    )
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return dataclasses.replace(PRESETS[options.preset], **changes)


def _initial_model(options: argparse.Namespace, recipe: Recipe) -> Pose2Seg:
    if options.weights is None:
        model = make_model(
            _with_encoder(recipe, options.encoder), load_templates(options.templates or DEFAULT_TEMPLATES)
        )
    else:
        model = load_model(options)
        if options.encoder is not None:
            model = _given_encoder(model, options.encoder, recipe)
        elif options.encoder_weights is not None:
            raise InputError(
                "--encoder-weights with --weights needs --encoder: otherwise the encoder is that of --weights"
            )
    if options.encoder_weights is not None:
        load_encoder_weights(model.backbone, options.encoder_weights)
    return model


def _with_encoder(recipe: Recipe, encoder: str | None) -> Recipe:
    if encoder is None:
        return recipe
    return dataclasses.replace(recipe, architecture=dataclasses.replace(recipe.architecture, encoder=encoder))


def _given_encoder(model: Pose2Seg, encoder: str, recipe: Recipe) -> Pose2Seg:
    """Returns the model with another encoder and pyramid, both random, and the same head."""
    recipe = dataclasses.replace(recipe, architecture=model.architecture, convention=model.convention)
    changed = make_model(_with_encoder(recipe, encoder), model.templates)
    changed.segnet.load_state_dict(model.segnet.state_dict())
    return changed
