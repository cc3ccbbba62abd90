"""The warnings of the commands."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from pose2seg.common import distributed
from pose2seg.data.dataset import DatasetWarning


@contextmanager
def dataset_warnings() -> Iterator[None]:
    """Prints each DatasetWarning once during the block, as a line on the standard error above a progress bar.

    Under torchrun, in a `distributed.joined` block, only the first process prints, because all have the same
    warnings.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", DatasetWarning)
        show_others = warnings.showwarning
        said: set[str] = set()

        def show(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
            if not issubclass(category, DatasetWarning):
                show_others(message, category, *where, **named)
            elif distributed.rank() == 0 and str(message) not in said:
                said.add(str(message))
                tqdm.write(f"pose2seg: warning: {' '.join(str(message).splitlines())}", file=sys.stderr)

        warnings.showwarning = show
        yield
