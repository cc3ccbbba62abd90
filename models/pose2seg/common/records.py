"""Objects in JSON files, whose errors say where in the file they are."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pose2seg.common.errors import InputError
from pose2seg.common.text import shown


@dataclass(frozen=True)
class Record:
    """A JSON object and its location in the file, for messages."""

    content: dict[str, Any]
    where: str

    @property
    def named(self) -> str:
        """The location of the record, with its "id" if it has one."""
        identifier = self.content.get("id")
        return self.where if identifier is None else f"{self.where} (id {shown(identifier)})"

    def get(self, name: str, *types: type) -> Any:
        """Returns a member of one of the types; NoneType makes it optional.

        Raises InputError for another type.
        """
        value = self.content.get(name)
        if type(value) not in types:
            expected = " or ".join(_JSON_TYPES[t] for t in types)
            raise InputError(f'{self.where}: "{name}" must be {expected}, got {shown(value)}')
        return value

    def numbers(self, name: str, count: int) -> npt.NDArray[np.float32]:
        """Returns a member that is a list of `count` finite numbers, (count,).

        Raises InputError otherwise.
        """
        return self._finite(name, self._list_of(name, count, count))

    def joints(self, name: str, count: int) -> npt.NDArray[np.float32]:
        """Returns a member with x, y and a third number for each of `count` joints, (count, 3).

        The numbers may also be grouped in lists of 3. A joint whose position is NaN or null, as some tools
        write missing joints, becomes three zeros. Raises InputError for any other value.
        """
        joints = self._list_of(name, count, 3 * count)
        numbers = joints
        if len(joints) == count:
            if not all(isinstance(joint, list) and len(joint) == 3 for joint in joints):
                raise InputError(
                    f'{self.where}: "{name}" must be {3 * count} numbers, or {count} lists of 3, '
                    f"got {count}: {shown(joints)}"
                )
            numbers = [number for joint in joints for number in joint]
        unknown = [i for i, x in enumerate(numbers) if (x is None or x != x) and i % 3 < 2]  # NaN is not x
        if unknown:
            numbers = list(numbers)
            for i in unknown:
                numbers[i - i % 3 : i - i % 3 + 3] = 0, 0, 0
        return self._finite(name, numbers).reshape(count, 3)

    def _list_of(self, name: str, other_count: int, count: int) -> list[Any]:
        numbers: list[Any] = self.get(name, list)
        if len(numbers) not in (count, other_count):
            raise InputError(f'{self.where}: "{name}" must be {count} numbers, got {len(numbers)}')
        return numbers

    def _finite(self, name: str, numbers: list[Any]) -> npt.NDArray[np.float32]:
        what = f'{self.where}: "{name}"'
        return np.array([finite_number(x, what) for x in numbers], np.float32)

    def box(self, name: str) -> tuple[float, float, float, float]:
        """Returns a member that is x, y, width and height.

        Raises InputError otherwise, or if the box is empty.
        """
        if not (self.numbers(name, 4)[2:] > 0).all():  # checked in float32, in which some callers use it
            raise InputError(f'{self.where}: "{name}" must have a width and a height above 0')
        x, y, width, height = map(float, self.content[name])
        return x, y, width, height

    def list_of_records(self, name: str) -> Iterator["Record"]:
        """Yields the objects of a member that is a list."""
        return records(self.get(name, list), f"{self.where}: {name}")


_JSON_TYPES = {
    int: "an integer",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
    NoneType: "absent",
}


_MANY = 20_000  # so many poses take about a second


def records(content: list[Any], where: str) -> Iterator[Record]:
    """Yields the objects of a list, with a progress bar if there are many.

    Raises InputError for another value.
    """
    hidden = None if len(content) >= _MANY else True
    for i, entry in enumerate(tqdm(content, desc=f"checking {where}", unit=" records", disable=hidden)):
        if not isinstance(entry, dict):
            raise InputError(f"{where}[{i}] must be an object, got {shown(entry)}")
        yield Record(entry, f"{where}[{i}]")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    A large one shows a progress bar if the standard error is a terminal.

    Raises InputError with the position of the mistake if it is not JSON, and OSError if it is unreadable.
    """
    try:
        text = _decoded(path.read_bytes())
        hidden = None if len(text) >= _LARGE_JSON else True
        with tqdm(desc=f"reading {path.name}", unit=" records", disable=hidden) as bar:

            def count(record: dict[str, Any]) -> dict[str, Any]:
                bar.update()
                return record

            return json.loads(text, object_hook=count)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper()
        raise InputError(f"{path}: not JSON: byte {error.start} is not {encoding}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number with too many digits
        raise InputError(f"{path}: not JSON that can be read: {error}") from error


def _decoded(content: bytes) -> str:
    """Returns the text of a JSON file: UTF-8, or the encoding of its byte order mark, without that mark."""
    return content.decode(json.detect_encoding(content))


_LARGE_JSON = 2**24  # so many characters take about a second


def finite_number(value: Any, what: str) -> float:
    """Returns a number of a JSON file.

    Raises InputError, beginning with `what`, if it is not finite in float32.
    """
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:
        raise InputError(f"{what} must be finite in float32, got {shown(value)}")
    return float(value)


_LARGEST = float(np.finfo(np.float32).max)
