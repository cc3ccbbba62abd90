"""What is said of the records of a file that are not used as they are."""

import re
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

from pose2seg.errors import InputError
from pose2seg.records import Record

T = TypeVar("T")


class DatasetWarning(UserWarning):
    """Something that is left out, or not used as it is given; the message says what, and why."""


class Remarks:
    """Remarks on the records of a file, kept until all of it is read.

    However many records have the same fault, `tell` gives one DatasetWarning for it: the first remark of its
    kind, and how many there are.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, remark: str, kind: str) -> None:
        self._first.setdefault(kind, remark)
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def left_out(self, record: Record, error: InputError) -> None:
        """A record is left out because of an error."""
        fault = _fault(record, error)
        self.add(f"{record.named} is left out: {fault}", _kind(fault))

    def usable(self, records: Iterable[Record], read: Callable[[Record], T | None]) -> list[T]:
        """What `read` makes of records, without None; those that it raises InputError for are left out.

        Raises the first error if that leaves nothing: then it is one mistake, in all of them.
        """
        made: list[T] = []
        errors: list[InputError] = []
        for record in records:
            try:
                of_record = read(record)
            except InputError as error:
                errors.append(error)
                self.left_out(record, error)
            else:
                if of_record is not None:
                    made.append(of_record)
        if errors and not made:
            raise errors[0]
        return made

    def replaced(self, record: Record, error: InputError, by: str) -> None:
        """What an error is about is not used; `by` says what is."""
        fault = _fault(record, error)
        self.add(f"{record.named}: {fault}; {by}", _kind(fault))

    def tell(self) -> None:
        for kind, remark in self._first.items():
            others = self._counts[kind] - 1
            more = f" (and {others:,} more of this kind)" if others else ""
            warnings.warn(remark + more, DatasetWarning, stacklevel=3)


def _fault(record: Record, error: InputError) -> str:
    """An error without the place of the record, if it begins with it."""
    return str(error).removeprefix(f"{record.named}: ").removeprefix(f"{record.where}: ")


def _kind(fault: str) -> str:
    """The same of faults that differ only in numbers and in what was got."""
    return re.sub(r"\d+", "", fault.partition(", got ")[0])
