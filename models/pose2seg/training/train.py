"""The loop of a training: epochs, evaluations, and the files that it leaves."""

import json
import math
import sys
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pose2seg import distributed
from pose2seg.checkpoint import save_checkpoint
from pose2seg.dataset import DatasetWarning, PersonImage
from pose2seg.errors import InputError
from pose2seg.evaluate import evaluate
from pose2seg.files import atomic_writer, remove_unfinished
from pose2seg.gone import GoneError
from pose2seg.lock import locked
from pose2seg.model import Pose2Seg
from pose2seg.training.loader import Batch, BatchSampler, make_loader, telling_of_dead_workers
from pose2seg.training.log import Log, last_step
from pose2seg.training.recipe import Recipe
from pose2seg.training.state import data_checksum, load_state, save_state
from pose2seg.training.trainer import Trainer

_STEPS_AT_ONCE = 20  # have their losses read from the device, which has to wait for that


def make_model(recipe: Recipe, templates: Tensor) -> Pose2Seg:
    """The model of a recipe, with its random initial weights; templates as in `Pose2Seg`."""
    torch.manual_seed(recipe.seed)
    return Pose2Seg(templates, recipe.architecture, convention=recipe.convention)


def training_files(output: Path) -> list[tuple[Path, str]]:
    """The files that `train` may write, and what each holds."""
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
    """Train a model, and write into the folder `output`:

    - last.safetensors: the model, after each epoch.
    - best.safetensors: the model whose average precision was best.
    - losses.csv: loss and learning rate of each step.
    - metrics.csv: the evaluation after each epoch.
    - recipe.json: the recipe, for the record.
    - state.pt: the state of the training, after each epoch and every `save_every` steps.
    - tensorboard/: the same curves, with `tensorboard`.

    A training that was stopped, in whatever way, goes on from its last state with `resume`, and where that is
    exact, as on a CPU, gives the same bits as if it had not been stopped. Every file but the curves is
    replaced at once, whole.

    Under torchrun, in a `distributed.joined` block, the processes share the batches of the recipe; the first
    one writes.

    model: is trained in place (`make_model`). Its architecture and convention, which may be those of weights
        that were given to it, are noted in place of the recipe's.
    validation: images to evaluate after each epoch; none for no evaluation.
    workers: processes that prepare batches, for each process that trains; 0 for none.

    Returns the model to keep, in evaluation mode: `model`, or the average of its weights.

    An image that cannot be read is replaced by the next one, with a DatasetWarning.

    Raises InputError if `output` holds a training and `resume` is not given, or one of another recipe, other
    templates or other images (`state.data_checksum`), or one that is still at work, or is not the same folder
    for all processes; if the loss is not finite; if no image can be read; and if a worker is killed. Raises
    GoneError for an image that cannot be read any more, though `read_dataset` had found it.
    """
    if recipe.batch_size < distributed.count():
        raise InputError(
            f"the batch size must be at least the number of processes, {distributed.count()}, "
            f"got {recipe.batch_size}"
        )
    recipe = replace(recipe, architecture=model.architecture, convention=model.convention)
    run = _Run(model, images, validation, recipe, output, torch.device(device), workers)
    with locked(output, "another training is writing there"):
        run.open_files(resume, tensorboard)
        with telling_of_dead_workers():
            for epoch in range(run.epoch, recipe.epochs):
                run.train_epoch(epoch, save_every)
                run.finish_epoch()
    return run.switch_to_evaluation()


class _Run:
    """A training with its data and its files."""

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
        self._data = {
            "images in the data": len(images),
            "people in the data": sum(people),
            "a checksum of the images": data_checksum(images),
            "a checksum of the validation": data_checksum(validation),
            "a checksum of the templates": zlib.crc32(model.templates.cpu().numpy().tobytes()),
        }
        self._best = -math.inf
        self._new_problems: list[str] = []
        self._reported: set[str] = set()
        self._losses: list[tuple[int, float, Tensor]] = []
        self._epoch_losses: list[float] = []
        self._log: Log | None = None  # of the one process that writes

    def open_files(self, resume: bool, tensorboard: bool) -> None:
        """Go on from the last state with `resume`, and be ready to write."""
        self._load(resume)
        if distributed.rank() == 0:
            remove_unfinished(self._output)
            self._log = Log(self._output, self._trainer.steps if resume else None, tensorboard)
            with atomic_writer(self._output / "recipe.json") as file:
                file.write(json.dumps(asdict(self._recipe), indent=2).encode() + b"\n")

    @property
    def epoch(self) -> int:
        """The epoch of the next step."""
        return self._trainer.steps // self._sampler.steps_per_epoch

    def train_epoch(self, epoch: int, save_every: int) -> None:
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
            for batch in self._loader:
                self._step(batch, bar)
                # After the last step of an epoch the state is saved with its evaluation.
                if self._trainer.steps % save_every == 0 and self._trainer.steps % total:
                    self._report(bar)
                    self._save()
            self._report(bar)

    def finish_epoch(self) -> None:
        """Evaluate the model, and keep it and the state of the training."""
        trained = self.switch_to_evaluation()
        results = {"loss": fmean(self._epoch_losses)}
        self._epoch_losses.clear()
        distributed.copy_from_first(trained.buffers())  # each process has its own running statistics
        if self._validation:
            metrics = evaluate(trained, self._validation).scores
            results |= metrics
            score = metrics["ap"]
            if self._log is not None:
                self._log.add_metrics(self._trainer.steps, self.epoch, metrics)
            if score > self._best:  # which nan never is
                self._best = score
                if self._log is not None:
                    save_checkpoint(trained, self._output / "best.safetensors")
        if self._log is not None:
            save_checkpoint(trained, self._output / "last.safetensors")
            told = ", ".join(f"{name} {value:.4f}" for name, value in results.items())
            tqdm.write(f"epoch {self.epoch} of {self._recipe.epochs}: {told}", file=sys.stderr)
        self._save()
        self._trainer.prepare()

    def switch_to_evaluation(self) -> Pose2Seg:
        """The model to evaluate and keep, in evaluation mode; `Trainer.prepare` ends that."""
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
        """Write the losses since the last time, and warn of the images that could not be read."""
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
            state = {"best": self._best, **self._trainer.state_dict()}
            save_state(self._output / "state.pt", state, self._recipe, self._data)

    def _load(self, resume: bool) -> None:
        path = self._output / "state.pt"
        if not resume and any(distributed.gather(self._holds_training())):
            raise InputError(f"{self._output} holds a training: resume it, or choose another folder")
        found = distributed.gather(path.exists())  # by all, before the first one writes
        if any(found) and not all(found):
            raise InputError(f"{path}: not all processes see it: they need a folder that they share")
        # The first epoch ends with a state; before, there need not be one.
        if not any(found) and any(
            distributed.gather(last_step(self._output) > self._sampler.steps_per_epoch)
        ):
            raise GoneError(f"{path}: is gone: put it back to resume, or choose another folder")
        if all(found):
            state = load_state(path, self._recipe, self._data)
            self._best = state["best"]
            self._trainer.load_state_dict(state)
        distributed.wait_for_all()

    def _holds_training(self) -> bool:
        """Also where the state is gone; one that was stopped before its first rows has left nothing."""
        paths = [self._output / name for name in ("state.pt", "last.safetensors", "losses.csv")]
        return any(path.exists() and path.stat().st_size > 0 for path in paths)
