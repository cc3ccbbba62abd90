"""Objects in JSON files, read so that a mistake can be told with its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pose2seg.errors import InputError
from pose2seg.files import finite_number, shown


@dataclass(frozen=True)
class Record:
    """A JSON object and where it stands, for messages."""

    content: dict[str, Any]
    where: str

    @property
    def named(self) -> str:
        """Where it stands, and its "id" where it has one."""
        identifier = self.content.get("id")
        return self.where if identifier is None else f"{self.where} (id {shown(identifier)})"

    def get(self, name: str, *types: type) -> Any:
        """A member of one of the types; NoneType allows none. Raises InputError for another."""
        value = self.content.get(name)
        if type(value) not in types:
            expected = " or ".join(_JSON_TYPES[t] for t in types)
            raise InputError(f'{self.where}: "{name}" must be {expected}, got {shown(value)}')
        return value

    def numbers(self, name: str, count: int) -> npt.NDArray[np.float32]:
        """A member that is a list of `count` finite numbers, (count,). Raises InputError for another."""
        return self._finite(name, self._list_of(name, count))

    def joints(self, name: str, count: int) -> npt.NDArray[np.float32]:
        """A member that is x, y and a third number of each of `count` joints, (count, 3).

        A joint whose position is NaN or null, as some tools write a missing one, has three zeros. Raises
        InputError for another member.
        """
        numbers = self._list_of(name, 3 * count)
        unknown = [i for i, x in enumerate(numbers) if (x is None or x != x) and i % 3 < 2]  # NaN is not x
        if unknown:
            numbers = list(numbers)
            for i in unknown:
                numbers[i - i % 3 : i - i % 3 + 3] = 0, 0, 0
        return self._finite(name, numbers).reshape(count, 3)

    def _list_of(self, name: str, count: int) -> list[Any]:
        numbers: list[Any] = self.get(name, list)
        if len(numbers) != count:
            raise InputError(f'{self.where}: "{name}" must be {count} numbers, got {len(numbers)}')
        return numbers

    def _finite(self, name: str, numbers: list[Any]) -> npt.NDArray[np.float32]:
        what = f'{self.where}: "{name}"'
        return np.array([finite_number(x, what) for x in numbers], np.float32)

    def box(self, name: str) -> tuple[float, float, float, float]:
        """A member that is x, y, width and height. Raises InputError for another, or an empty box."""
        if not (self.numbers(name, 4)[2:] > 0).all():  # float32: some use it so
            raise InputError(f'{self.where}: "{name}" must have a width and a height above 0')
        x, y, width, height = map(float, self.content[name])
        return x, y, width, height

    def list_of_records(self, name: str) -> Iterator["Record"]:
        """A member that is a list of objects."""
        return records(self.get(name, list), f"{self.where}: {name}")


_JSON_TYPES = {
    int: "an integer",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
    NoneType: "absent",
}


_MANY = 20_000  # poses take about a second


def records(content: list[Any], where: str) -> Iterator[Record]:
    """The objects of a list; many show their progress. Raises InputError for what is none."""
    hidden = None if len(content) >= _MANY else True
    for i, entry in enumerate(tqdm(content, desc=f"checking {where}", unit=" records", disable=hidden)):
        if not isinstance(entry, dict):
            raise InputError(f"{where}[{i}] must be an object, got {shown(entry)}")
        yield Record(entry, f"{where}[{i}]")
