"""Writes the losses and scores of a training run to CSV files and to TensorBoard."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose2seg.common.errors import InputError
from pose2seg.common.files import append_line, atomic_writer


class Log:
    """Writes losses.csv and metrics.csv to a folder and, if requested, the same curves to tensorboard/.

    resume_from: the last step whose rows are kept if the files exist; None to start new files.
    tensorboard: whether to write the curves to tensorboard/.

    Raises InputError if TensorBoard is requested and cannot be imported.
    """

    def __init__(self, folder: Path, resume_from: int | None, tensorboard: bool) -> None:
        self._board = _open_tensorboard(folder / "tensorboard", resume_from) if tensorboard else None
        self._losses = _Table(folder / "losses.csv", resume_from)
        self._metrics = _Table(folder / "metrics.csv", resume_from)

    def add_loss(self, step: int, loss: float, learning_rate: float) -> None:
        """Adds the loss and the learning rate of a step."""
        row = {"step": step, "loss": loss, "learning_rate": learning_rate}
        self._losses.add(row)
        self._draw(row)

    def add_metrics(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Adds the scores after an epoch."""
        row = {"step": step, "epoch": epoch, **metrics}
        self._metrics.add(row)
        self._draw(row)

    def _draw(self, row: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, row["step"])


class _Table:
    """A CSV file to which rows are appended. The first column is "step", which increases."""

    def __init__(self, path: Path, resume_from: int | None) -> None:
        self._path = path
        lines = _rows_to(path, resume_from) if resume_from is not None and path.exists() else []
        with atomic_writer(path) as file:
            file.write("".join(lines).encode())

    def add(self, row: Mapping[str, float]) -> None:
        is_empty = not self._path.exists() or self._path.stat().st_size == 0  # also if it was removed
        lines = [",".join(row)] if is_empty else []
        lines.append(",".join(map(str, row.values())))
        append_line(self._path, "\n".join(lines).encode())


def _rows_to(path: Path, step: int) -> list[str]:
    """Returns the header and the rows up to a step, without damaged lines, such as a truncated last line."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    rows = [line for line in lines[1:] if re.match("[0-9]{1,18},", line)]
    return lines[:1] + [row for row in rows if int(row.partition(",")[0]) <= step]


def last_step(folder: Path) -> int:
    """Returns the last step that has a row in losses.csv, or 0 if there is none."""
    path = folder / "losses.csv"
    rows = _rows_to(path, 10**18)[1:] if path.exists() else []
    return int(rows[-1].partition(",")[0]) if rows else 0


def _open_tensorboard(folder: Path, resume_from: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            f"TensorBoard cannot be imported ({error}): pip install 'pose2seg_ops[train]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=None if resume_from is None else resume_from + 1)
