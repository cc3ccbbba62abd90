"""The training loop: epochs, evaluations and files."""

import json
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pose2seg.common import distributed
from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer, remove_unfinished
from pose2seg.common.gone import GoneError
from pose2seg.common.lock import locked
from pose2seg.common.text import counted
from pose2seg.data.dataset import DatasetWarning, PersonImage
from pose2seg.evaluation.evaluate import evaluate
from pose2seg.network.checkpoint import save_checkpoint
from pose2seg.network.model import Pose2Seg
from pose2seg.training.interruption import uninterrupted
from pose2seg.training.loader import Batch, BatchSampler, make_loader, reporting_dead_workers
from pose2seg.training.log import Log, last_step
from pose2seg.training.recipe import Recipe
from pose2seg.training.state import describe_data, load_state, save_state
from pose2seg.training.trainer import Trainer

_STEPS_AT_ONCE = 20  # losses are read from the device together, because each read waits for the device


def make_model(recipe: Recipe, templates: Tensor) -> Pose2Seg:
    """Returns the model of a recipe with its random initial weights; for the templates see `Pose2Seg`."""
    torch.manual_seed(recipe.seed)
    return Pose2Seg(templates, recipe.architecture, convention=recipe.convention)


def training_files(output: Path) -> list[tuple[Path, str]]:
    """Returns the files that `train` may write, with a description of each for messages."""
    return [
        (output / "last.safetensors", "the model"),
        (output / "best.safetensors", "the best model"),
        (output / "losses.csv", "the losses"),
        (output / "metrics.csv", "the scores"),
        (output / "recipe.json", "the recipe"),
        (output / "state.pt", "the state"),
    ]


def train(
    model: Pose2Seg,
    images: Sequence[PersonImage],
    recipe: Recipe,
    output: Path,
    *,
    validation: Sequence[PersonImage] = (),
    device: torch.device | str = "cpu",
    workers: int = 2,
    save_every: int = 1000,
    resume: bool = False,
    tensorboard: bool = False,
) -> Pose2Seg:
    """Trains a model, and writes to the folder `output`:

    - last.safetensors: the model, after each epoch.
    - best.safetensors: the model with the best average precision.
    - losses.csv: the loss and the learning rate of each step.
    - metrics.csv: the scores after each epoch.
    - recipe.json: the recipe.
    - state.pt: the state of the run, after each epoch and every `save_every` steps.
    - tensorboard/: the same curves, if `tensorboard` is set.

    With `resume`, a run that was stopped in any way continues from its last state. On a deterministic device,
    such as a CPU, the result is bitwise the same as without the interruption. Ctrl-C raises KeyboardInterrupt
    after the current step, once the state is saved. All files except the curves are replaced atomically.

    With `resume`, the number of epochs may be changed, so that a finished run can be continued; the learning
    rate then follows the schedule for the new number.

    Under torchrun, in a `distributed.joined` block, the processes share the batches of the recipe, and the
    first process writes the files.

    model: the model (`make_model`), which is trained in place. Its architecture and convention, which may be
        those of loaded weights, replace the recipe's.
    validation: images to evaluate after each epoch; if there are none, there is no evaluation.
    workers: the number of worker processes that prepare batches, for each training process; may be 0.

    Returns the trained model in evaluation mode: `model`, or the average of its weights.

    An image that cannot be read is replaced by the next one, with a DatasetWarning.

    Raises InputError if `output` contains a run and `resume` is False; if that run has another recipe, other
    templates, other images (`state.describe_data`) or more epochs, or is still in progress; if not all
    processes share the folder; if the loss is not finite; if no image can be read; and if a worker is killed.
    Raises GoneError if an image that `read_dataset` found is gone.
    """
    if recipe.batch_size < distributed.count():
        raise InputError(
            f"the batch size must be at least the number of processes, {distributed.count()}, "
            f"got {recipe.batch_size}"
        )
    device = torch.device(device)
    recipe = replace(recipe.on(device), architecture=model.architecture, convention=model.convention)
    run = _Run(model, images, validation, recipe, output, device, workers)
    with locked(output, "another training run is writing there"):
        run.open_files(resume, tensorboard)
        with reporting_dead_workers():
            for epoch in range(run.epochs_done, recipe.epochs):
                run.train_epoch(epoch, save_every)
                run.finish_epoch()
    return run.switch_to_evaluation()


class _Run:
    """A training run with its data and files."""

    def __init__(
        self,
        model: Pose2Seg,
        images: Sequence[PersonImage],
        validation: Sequence[PersonImage],
        recipe: Recipe,
        output: Path,
        device: torch.device,
        workers: int,
    ) -> None:
        self._recipe, self._output, self._validation = recipe, output, validation
        people = [len(image.people) for image in images]
        self._sampler = BatchSampler(people, recipe, distributed.rank(), distributed.count())
        self._trainer = Trainer(model, recipe, self._sampler.steps_per_epoch, device)
        self._loader = make_loader(images, recipe, self._sampler, workers=workers, device=device)
        self._data = describe_data(images, validation, model.templates)
        self._best = -math.inf
        self.epochs_done = 0  # including their evaluation
        self._new_problems: list[str] = []
        self._reported: set[str] = set()
        self._losses: list[tuple[int, float, Tensor]] = []
        self._epoch_losses: list[float] = []
        self._log: Log | None = None  # None in processes that do not write

    def open_files(self, resume: bool, tensorboard: bool) -> None:
        """Loads the last state if `resume` is set, and opens the files."""
        self._load(resume)
        if distributed.rank() == 0:
            remove_unfinished(self._output)
            self._log = Log(self._output, self._trainer.steps if resume else None, tensorboard)
            with atomic_writer(self._output / "recipe.json") as file:
                file.write(json.dumps(asdict(self._recipe), indent=2).encode() + b"\n")

    def train_epoch(self, epoch: int, save_every: int) -> None:
        """Takes the remaining steps of an epoch, and saves the state every `save_every` steps.

        If an evaluation follows, the state is also saved after the last step. KeyboardInterrupt is raised
        between two steps, after the state is saved.
        """
        total = self._sampler.steps_per_epoch
        self._sampler.epoch, self._sampler.first_step = epoch, self._trainer.steps - epoch * total
        name = f"epoch {epoch + 1} of {self._recipe.epochs}"
        with tqdm(
            total=total,
            initial=self._sampler.first_step,
            desc=name,
            unit="step",
            disable=True if self._log is None else None,
        ) as bar:
            try:
                for batch in self._loader:
                    with uninterrupted("this step"):
                        self._step(batch, bar)
                        is_last = self._trainer.steps % total == 0
                        if bool(self._validation) if is_last else self._trainer.steps % save_every == 0:
                            self._report(bar)
                            self._save()
            except KeyboardInterrupt:
                if distributed.count() == 1 and self._trainer.steps:  # other processes may be gone
                    self._report(bar)
                    self._save()
                raise
            self._report(bar)

    def finish_epoch(self) -> None:
        """Evaluates the model, and saves it and the state of the run."""
        trained = self.switch_to_evaluation()
        results = {"loss": fmean(self._epoch_losses)} if self._epoch_losses else {}
        self._epoch_losses.clear()
        self.epochs_done += 1
        distributed.copy_from_first(trained.buffers())  # each process has its own running statistics
        if self._validation:
            metrics = evaluate(trained, self._validation).scores
            results |= metrics
            score = metrics["ap"]
            if self._log is not None:
                self._log.add_metrics(self._trainer.steps, self.epochs_done, metrics)
            if score > self._best:  # false for nan
                self._best = score
                if self._log is not None:
                    save_checkpoint(trained, self._output / "best.safetensors")
        if self._log is not None:
            save_checkpoint(trained, self._output / "last.safetensors")
            told = ", ".join(f"{name} {value:.4f}" for name, value in results.items())
            tqdm.write(f"epoch {self.epochs_done} of {self._recipe.epochs}: {told}", file=sys.stderr)
        self._save()
        self._trainer.prepare()

    def switch_to_evaluation(self) -> Pose2Seg:
        """Returns the model to evaluate and save, in evaluation mode, until `Trainer.prepare` is called."""
        return self._trainer.trained.eval()

    def _step(self, batch: Batch, bar: "tqdm[Any]") -> None:
        self._new_problems += batch.problems
        learning_rate = self._trainer.learning_rate
        loss = self._trainer.step(batch)
        self._losses.append((self._trainer.steps, learning_rate, loss))
        bar.update()
        if len(self._losses) == _STEPS_AT_ONCE:
            self._report(bar)

    def _report(self, bar: "tqdm[Any]") -> None:
        """Writes the new losses, and warns about images that could not be read."""
        if not self._losses:
            return
        problems = {problem for part in distributed.gather(self._new_problems) for problem in part}
        for problem in sorted(problems - self._reported):
            warnings.warn(problem, DatasetWarning, stacklevel=2)
        self._reported |= problems
        self._new_problems.clear()
        losses = distributed.total(torch.stack([loss for _, _, loss in self._losses])).tolist()
        for (step, learning_rate, _), loss in zip(self._losses, losses, strict=True):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} at step {step}: try a smaller learning rate, or another precision"
                )
            if self._log is not None:
                self._log.add_loss(step, loss, learning_rate)
        bar.set_postfix(loss=f"{fmean(losses):.4f}")
        self._epoch_losses += losses
        self._losses.clear()

    def _save(self) -> None:
        if self._log is not None:
            state = {
                "best": self._best,
                "epochs_done": self.epochs_done,
                **self._trainer.state_dict(),
            }
            save_state(self._output / "state.pt", state, self._recipe, self._data)

    def _load(self, resume: bool) -> None:
        path = self._output / "state.pt"
        if not resume and any(distributed.gather(self._holds_training())):
            raise InputError(f"{self._output}: contains a training run: resume it, or choose another folder")
        found = distributed.gather(path.exists())  # all processes must look before the first one writes
        if any(found) and not all(found):
            raise InputError(f"{path}: must be in a folder that all processes share")
        # The first state may be written as late as the end of the first epoch.
        if not any(found) and any(
            distributed.gather(last_step(self._output) > self._sampler.steps_per_epoch)
        ):
            raise GoneError(f"{path}: is gone: put it back to resume, or choose another folder")
        if all(found):
            state = load_state(path, self._recipe, self._data)
            self._best, self.epochs_done = state["best"], state["epochs_done"]
            self._trainer.load_state_dict(state)
            self._tell_resumed()
        distributed.wait_for_all()

    def _tell_resumed(self) -> None:
        """Prints how far the run is. Raises InputError if it has begun more epochs than the recipe has."""
        done, wanted, steps = self.epochs_done, self._recipe.epochs, self._trainer.steps
        if self._sampler.steps_per_epoch * wanted < steps:
            raise InputError(
                f"epochs must be at least {-(-steps // self._sampler.steps_per_epoch)}, which {self._output} "
                f"has done or begun, got {wanted}"
            )
        if distributed.rank() == 0:
            more = "; to continue, increase the number of epochs" if done == wanted else ""
            told = f"{done} of {wanted} epochs are done, {counted(steps, 'step', 'steps')} in all{more}"
            tqdm.write(f"{self._output}: {told}", file=sys.stderr)

    def _holds_training(self) -> bool:
        """Returns whether the folder contains a training run, even one without a state."""
        paths = [self._output / name for name in ("state.pt", "last.safetensors", "losses.csv")]
        return any(path.exists() and path.stat().st_size > 0 for path in paths)
