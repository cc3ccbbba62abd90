"""Values formatted for messages."""

from pathlib import Path
from typing import Any


def counted(number: int, singular: str, plural: str) -> str:
    """Returns a number with its noun, such as "1 person" or "12,000 people"."""
    return f"{number:,} {singular if number == 1 else plural}"


def shown(value: Any) -> str:
    """Returns a value for a message: on one line, and shortened to 40 characters."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def shown_path(path: Path) -> str:
    """Returns a path for a message; it is shortened only if it is too long for any file system."""
    text = str(path)
    return text if len(text) <= 400 else f"{text[:200]}...{text[-60:]}"
