"""The interface of outputs that are one file about all images."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks


class CollectedFile(ABC):
    """One file that is assembled at the end from a part of each image.

    Until then the journal has the parts.
    """

    #: The option of the command line, without its hyphens.
    option: ClassVar[str]

    #: What the file contains, for messages.
    content: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def part(self, predicted: Masks[PosedImage]) -> Any:
        """Returns what the file needs of an image, as a JSON value."""

    @abstractmethod
    def is_part(self, value: Any) -> bool:
        """Returns whether a value has the form of the results of `part`."""

    @abstractmethod
    def write(self, parts: Iterable[Any], facts: Sequence[str], unfinished_in: Path | None) -> None:
        """Writes the file from the parts of all images, with `atomic_writer`.

        facts: what the masks were made with, in a few words each.
        unfinished_in: see `atomic_writer`.
        """
