"""Warnings about the records of a file that are left out or changed."""

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record

T = TypeVar("T")


class DatasetWarning(UserWarning):
    """Warns that something is left out, or not used as given; the message says what and why."""


class Remarks:
    """Collects remarks on the records of a file, and issues them as warnings when the `with` block ends.

    However many records have the same fault, there is one DatasetWarning for it: the first remark of its
    kind, and the number of others. The warnings are also issued if the block ends with an InputError, whose
    cause they may explain.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, InputError):
            self._tell()

    def add(self, remark: str, kind: str) -> None:
        self._first.setdefault(kind, remark)
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def left_out(self, record: Record, error: InputError) -> None:
        """Adds the remark that a record is left out because of an error."""
        fault = _fault(record, error)
        self.add(f"{record.named} is left out: {fault}", _kind(fault))

    def usable(self, records: Iterable[Record], read: Callable[[Record], T | None]) -> list[T]:
        """Returns the results of `read` for all records, without None.

        Records with an InputError are left out.

        If nothing remains, raises the first error: all records then probably have the same mistake.
        """
        made: list[T] = []
        errors: list[tuple[Record, InputError]] = []
        for record in records:
            try:
                of_record = read(record)
            except InputError as error:
                errors.append((record, error))
            else:
                if of_record is not None:
                    made.append(of_record)
        if errors and not made:
            raise errors[0][1]
        for record, fault in errors:
            self.left_out(record, fault)
        return made

    def replaced(self, record: Record, error: InputError, by: str) -> None:
        """Adds the remark that a value is not used because of an error; `by` says what is used instead."""
        fault = _fault(record, error)
        self.add(f"{record.named}: {fault}; {by}", _kind(fault))

    def _tell(self) -> None:
        for kind, remark in self._first.items():
            others = self._counts[kind] - 1
            more = f" (and {others:,} more of this kind)" if others else ""
            warnings.warn(remark + more, DatasetWarning, stacklevel=4)


def _fault(record: Record, error: InputError) -> str:
    """Returns the message of an error without the location of the record at its beginning."""
    return str(error).removeprefix(f"{record.named}: ").removeprefix(f"{record.where}: ")


def _kind(fault: str) -> str:
    """Returns the kind of a fault: its text without its numbers and without the actual value."""
    return re.sub(r"\d+", "", fault.partition(", got ")[0])
