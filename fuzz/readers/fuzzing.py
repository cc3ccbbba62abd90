"""Fuzzes file readers with atheris, and checks the errors that they raise and the values that they return."""

import contextlib
import copy
import json
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["pose2seg"]):
    import pose2seg.data.dataset
    import pose2seg.network.checkpoint
    import pose2seg.network.templates
    import pose2seg.prediction.journal
    from pose2seg.data.poses import Person

Mutator = Callable[[bytes, int, int], bytes]

# Values that a JSON file may contain in place of the expected one.
_VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2, 3, 0.5, -0.0, 3e38, 1e39, float("inf"), float("nan"), 2**31, 2**63, 10**400),
    *("", "a", "0", "\0", "\ud800", "../a", "a" * 300, [], {}, [0] * 51, [2.0] * 54, [0.5] * 75, [[]]),
]


def fuzz(read: Callable[[Path], None], name: str, mutate: Mutator | None = None) -> None:
    """Runs `read` on files with a name until the limits of libFuzzer's arguments, which are those of the
    command."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)

        def one_input(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(pose2seg.InputError, OSError):
                read(path)

        # To merge, libFuzzer runs its first argument again, in a shell; a script is run by this Python.
        arguments = [shlex.join([sys.executable, sys.argv[0]]), *sys.argv[1:]]
        atheris.Setup(arguments, one_input, **({"custom_mutator": mutate} if mutate else {}))
        atheris.Fuzz()


def mutate_json(data: bytes, most: int, seed: int) -> bytes:
    """Mutates a file of JSON or JSON lines: changes a value, a member or the order in one of its lines."""
    random = Random(seed)
    lines = data.split(b"\n")
    i = random.randrange(len(lines))
    try:
        content = [json.loads(lines[i])]
        for _ in range(random.randint(1, 3)):
            _change(content, random)
        lines[i] = json.dumps(content[0]).encode()
    except (ValueError, RecursionError):
        return atheris.Mutate(data, most)
    changed = b"\n".join(lines)
    return changed if len(changed) <= most and random.random() < 0.9 else atheris.Mutate(data, most)


def _change(content: list[Any], random: Random) -> None:
    places = list(_places(content))
    container, key = random.choice(places)
    other, other_key = random.choice(places)
    kind = random.choice(("value", "value", "copy", "swap", "remove", "repeat"))
    if kind == "value":
        container[key] = copy.deepcopy(random.choice(_VALUES))
    elif kind == "remove" and container is not content:
        del container[key]
    elif kind == "repeat" and container is not content and isinstance(container, list):
        container[key:key] = [container[key]] * random.choice((1, 2, 17))
    else:  # through text, so that no value contains itself
        value, other_value = json.dumps(container[key]), json.dumps(other[other_key])
        container[key] = json.loads(other_value)
        if kind == "swap" and (container is other or not container[key]):
            other[other_key] = json.loads(value)


def _places(content: list[Any]) -> Iterable[tuple[Any, Any]]:
    """Yields every member of every list and object, and its container."""
    left: list[Any] = [content]
    while left:
        container = left.pop()
        members = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in members:
            yield container, key
            if isinstance(value, (dict, list)):
                left.append(value)


def check_people(people: Iterable[Person]) -> None:
    """Checks that people are as `Person` documents them."""
    for person in people:
        keypoints = person.keypoints
        assert keypoints.shape == (17, 3), keypoints.shape
        assert keypoints.dtype == np.float32, keypoints.dtype
        assert np.isfinite(keypoints).all(), keypoints
        assert np.isin(keypoints[:, 2], (0, 1, 2)).all(), keypoints
        assert np.isfinite(person.score), person.score
