"""Runs every op once on each backend against its reference: `pytest -m quick`, in less than a minute."""

from typing import Any

import pytest
from every_op import OPS, require_reference, results

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("op", OPS)
def test_an_op_and_its_gradients_equal_the_reference(backend: Any, op: str) -> None:
    require_reference(results(backend, op), op)
