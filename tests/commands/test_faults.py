"""Tests that docs/faults.md shows what happens."""

from pathlib import Path

import pytest
from fault_scene import Fault
from faults import FAULTS, HEAD, PAGE, row

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_page_shows_what_happens(fault: Fault, tmp_path: Path) -> None:
    rows = PAGE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines(keepends=True)
    assert row(fault, tmp_path) == rows[FAULTS.index(fault)]


def test_the_page_has_one_row_for_each_fault() -> None:
    rows = PAGE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows] == [fault.name for fault in FAULTS]
