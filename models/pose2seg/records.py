"""The objects of a JSON file, checked as they are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any

from pose2seg.errors import InputError
from pose2seg.files import shown


@dataclass(frozen=True)
class Record:
    """A JSON object and where it stands, for messages."""

    content: dict[str, Any]
    where: str

    def get(self, name: str, *types: type) -> Any:
        value = self.content.get(name)
        if type(value) not in types:
            expected = " or ".join(_JSON_TYPES[t] for t in types)
            raise InputError(f'{self.where}: "{name}" must be {expected}, got {shown(value)}')
        return value

    def list_of_records(self, name: str) -> Iterator["Record"]:
        return records(self.get(name, list), f"{self.where}: {name}")


_JSON_TYPES = {int: "an integer", str: "a string", list: "a list", NoneType: "absent"}


def records(content: list[Any], where: str) -> Iterator[Record]:
    for i, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise InputError(f"{where}[{i}] must be an object, got {shown(entry)}")
        yield Record(entry, f"{where}[{i}]")
