"""The interface of outputs that are files of each image in a folder."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pose2seg.common.errors import InputError, in_one_line
from pose2seg.common.gone import GoneError
from pose2seg.common.text import counted
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks


class ImageFiles(ABC):
    """One or more files for each image, in a folder. They are written as soon as the image is finished."""

    #: The option of the command line, without its hyphens.
    option: ClassVar[str]

    #: The name of the files for messages, in the singular and the plural.
    names: ClassVar[tuple[str, str]]

    #: Whether nothing else may be written to the folder, because the names of the files are not known before.
    needs_own_folder = False

    #: Whether `write` needs the opacities of `Masks`.
    needs_opacities = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the files besides the folder, by option, as JSON values.

        A resumed run needs the same.
        """
        return {}

    @abstractmethod
    def claimed(self, image: PosedImage) -> Path:
        """Returns a path that identifies the files of an image. Two images must not have the same one."""

    @abstractmethod
    def files(self, image: PosedImage, people: int) -> Iterable[Path]:
        """Returns the files of an image with a number of people."""

    @abstractmethod
    def write(self, predicted: Masks[PosedImage]) -> None:
        """Writes the files of an image. Raises InputError or OSError if that is impossible."""

    def try_to_write(self, predicted: Masks[PosedImage]) -> str | None:
        """Writes the files of an image. Returns None or, if they cannot be written, the reason in one line.

        Raises OSError for a problem that affects all images, such as a full disk.
        """
        try:
            self.write(predicted)
        except InputError as error:
            return in_one_line(error)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return in_one_line(error)
        return None

    def are_there(self, image: PosedImage, people: int) -> bool:
        """Returns whether all files of an image exist."""
        return all(os.path.exists(file) for file in self.files(image, people))

    def require_there(self, images: Iterable[tuple[PosedImage, int]]) -> None:
        """Raises GoneError if files of these images, each with its number of people, have been removed."""
        lost = [file for each in images for file in self.files(*each) if not os.path.exists(file)]
        if lost:
            raise GoneError(
                f"{self.folder}: {counted(len(lost), *self.names)} that had been written, such as "
                f"{lost[0].name}, are gone: resume to write them again"
            )


class OneFileAnImage(ImageFiles):
    """One file for each image, with the name of the image and another suffix."""

    suffix: ClassVar[str]

    def path(self, image: PosedImage) -> Path:
        """Returns the path of the file of an image."""
        return self.folder / f"{image.path.stem}{self.suffix}"

    def claimed(self, image: PosedImage) -> Path:
        """See `ImageFiles`."""
        return self.path(image)

    def files(self, image: PosedImage, people: int) -> Iterable[Path]:
        """See `ImageFiles`."""
        return [self.path(image)]


class OneFileAPerson(ImageFiles):
    """One file for each person: NAME_1.png, NAME_2.png, ... for NAME.jpg, in the order of the people.

    Surplus files of an earlier prediction, with more people in the image, are removed.
    """

    needs_own_folder = True

    def path(self, image: PosedImage, person: int) -> Path:
        """Returns the path of the file of a person; the first person is 0."""
        return self.folder / f"{image.path.stem}_{person + 1}.png"

    def claimed(self, image: PosedImage) -> Path:
        """See `ImageFiles`."""
        return self.folder / f"{image.path.stem}_N.png"

    def files(self, image: PosedImage, people: int) -> Iterable[Path]:
        """See `ImageFiles`."""
        return [self.path(image, person) for person in range(people)]

    @abstractmethod
    def write_person(self, predicted: Masks[PosedImage], person: int, path: Path) -> None:
        """Writes the file of one person."""

    def write(self, predicted: Masks[PosedImage]) -> None:
        """See `ImageFiles`."""
        count = len(predicted.masks)
        for person in range(count):
            self.write_person(predicted, person, self.path(predicted.item, person))
        while os.path.lexists(outdated := self.path(predicted.item, count)):
            outdated.unlink()
            count += 1
