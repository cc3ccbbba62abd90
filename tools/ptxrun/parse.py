"""Parses PTX text into kernels: their parameters, shared variables and instructions."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# The numpy type of each PTX type. 16-bit floating-point numbers are represented by their bits.
TYPES = {
    "pred": np.dtype(np.bool_),
    **{name: np.dtype(np.uint8) for name in ("b8", "u8")},
    **{name: np.dtype(np.uint16) for name in ("b16", "u16", "f16", "bf16")},
    **{name: np.dtype(np.uint32) for name in ("b32", "u32")},
    **{name: np.dtype(np.uint64) for name in ("b64", "u64")},
    **{f"s{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}


class PtxError(Exception):
    """PTX that is not supported, or a fault of its execution."""


@dataclass(frozen=True)
class Register:
    name: str
    dtype: np.dtype


@dataclass(frozen=True)
class Literal:
    text: str

    def value(self, dtype: np.dtype) -> np.generic:
        """Returns the value as a type. `0f3F800000` and `0d...` are the bits of a float; integers wrap
        around."""
        if self.text[:2] in ("0f", "0d"):
            bits: Any = {"f": np.uint32, "d": np.uint64}[self.text[1]](int(self.text[2:], 16))
            return bits.view(dtype)
        number = int(self.text, 0)
        if dtype.kind in "bf":
            return dtype.type(number)
        unsigned: Any = np.dtype(f"u{dtype.itemsize}").type(number % (1 << 8 * dtype.itemsize))
        return unsigned.view(dtype)


@dataclass(frozen=True)
class Special:
    """A special register, such as tid.x."""

    name: str


@dataclass(frozen=True)
class Symbol:
    """The address of a parameter or of a shared variable."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    base: Register | Symbol | Literal
    offset: int = 0


@dataclass(frozen=True)
class Pair:
    """`%r1|%p1`: a result and whether it is valid."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Vector:
    """`{%r1, %r2}`: several values that are loaded, stored, packed or unpacked together."""

    elements: tuple[Operand, ...]


Operand = Register | Literal | Special | Symbol | Address | Pair | Vector


@dataclass(frozen=True)
class Instruction:
    name: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    target: str | None = None  # the label of a branch
    guard: tuple[Register, bool] | None = None  # executes if the register has this value
    text: str = ""
    place: str = ""  # for messages: the line of the PTX and of its source

    def type(self, index: int = -1) -> str:
        """Returns the last type in the name, or the one at an index."""
        return [modifier for modifier in self.modifiers if modifier in TYPES][index]

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class Variable:
    name: str
    align: int
    size: int
    type: str


@dataclass
class Function:
    name: str
    parameters: list[Variable]
    shared: list[Variable]
    max_threads: int
    code: list[str | Instruction] = field(default_factory=list)  # a string is a label


VARIABLE = re.compile(r"\.(?:param|shared)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$")
ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\((.*?)\)\s*(.*?)\{", re.S)
INSTRUCTION = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z]\w*)((?:\.\w+)*)\s*(.*)$", re.S)
ADDRESS = re.compile(r"\[([\w$%.-]+?)(?:\+(-?\d+))?\]$")


def split(text: str) -> list[str]:
    """Splits at commas outside of braces and brackets."""
    return [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", text) if part.strip()]


def parse_variable(text: str) -> Variable:
    match = VARIABLE.match(text.strip())
    if not match:
        raise PtxError(f"unsupported variable: {text.strip()}")
    align, kind, name, count = match.groups()
    size = TYPES[kind].itemsize
    return Variable(name, int(align or size), size * int(count or 1), kind)


class Module:
    """The kernels of PTX text, by their mangled names."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"//.*", "", text)
        self._files = dict(re.findall(r'\.file\s+(\d+)\s+"(?:[^"]*/)?([^"]*)"', text))
        shared = [parse_variable(line[:-1]) for line in re.findall(r"^\.shared .*;", text, re.M)]
        self.functions: dict[str, Function] = {}
        for entry in ENTRY.finditer(text):
            name, parameters, directives = entry.groups()
            limit = re.search(r"\.maxntid\s+(\d+),\s*(\d+),\s*(\d+)", directives)
            function = Function(
                name,
                [parse_variable(parameter) for parameter in split(parameters)],
                list(shared),
                int(np.prod([int(side) for side in limit.groups()])) if limit else 1024,
            )
            self._parse_body(function, text, entry.end())
            self.functions[name] = function

    def find(self, part: str) -> Function:
        """Returns the kernel whose mangled name contains `part`."""
        names = [name for name in self.functions if part in name]
        if len(names) != 1:
            raise PtxError(f"kernel must be in the name of one kernel, got {part!r}, in {names or 'none'}")
        return self.functions[names[0]]

    def _parse_body(self, function: Function, text: str, start: int) -> None:
        scopes: list[dict[str, Register]] = [{}]
        source = ""
        for statement, line in statements(text, start):
            if statement == "{":
                scopes.append({})
            elif statement == "}":
                scopes.pop()
                if not scopes:
                    return
            elif statement.endswith(":"):
                function.code.append(statement[:-1])
            elif statement.startswith(".loc"):
                number, at = statement.split()[1:3]
                source = f" ({self._files.get(number, '?')}:{at})"
            elif statement.startswith(".reg"):
                declare(statement, scopes, len(function.code))
            elif statement.startswith(".shared"):
                function.shared.append(parse_variable(statement))
            elif not statement.startswith(".pragma"):
                place = f"PTX line {line}{source}"
                function.code.append(parse_instruction(statement, scopes, place))


def statements(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yields each statement of a body and its line. `.loc` ends with its line, others with a semicolon."""
    line = text.count("\n", 0, start) + 1
    for match in re.finditer(
        r"(\s*)(\.loc[^\n]*|[\w$]+:(?!:)|\.[^;]*;|(?:[^;{}]|\{[^{};]*\})+;|[{}])", text[start:]
    ):
        line += match[1].count("\n")
        yield match[2].rstrip(";").strip(), line
        line += match[2].count("\n")


def declare(statement: str, scopes: list[dict[str, Register]], unique: int) -> None:
    """Declares registers: `.reg .b32 %r<60>` are sixty. Those of an inner scope get unique names."""
    _, kind, names = statement.split(None, 2)
    dtype = TYPES[kind[1:]]
    for name in split(names):
        many = re.match(r"(.+)<(\d+)>$", name)
        for each in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]:
            own = each if len(scopes) == 1 else f"{each}@{unique}.{len(scopes)}"
            scopes[-1][each] = Register(own, dtype)


def parse_instruction(statement: str, scopes: list[dict[str, Register]], place: str) -> Instruction:
    match = INSTRUCTION.match(statement)
    if not match:
        raise PtxError(f"{place}: unsupported statement: {statement}")
    inverted, guard, name, modifiers, rest = match.groups()
    known = ChainMap(*reversed(scopes))
    branch = name == "bra"
    return Instruction(
        name,
        tuple(modifiers.split(".")[1:]),
        () if branch else tuple(parse_operand(part, known) for part in split(rest)),
        rest.strip() if branch else None,
        (known[guard], not inverted) if guard else None,
        " ".join(statement.split()),
        place,
    )


def parse_operand(text: str, registers: Mapping[str, Register]) -> Operand:
    if text in registers:
        return registers[text]
    if text.startswith("{"):
        return Vector(tuple(parse_operand(part, registers) for part in split(text[1:-1])))
    if match := ADDRESS.match(text):
        base, offset = parse_operand(match[1], registers), int(match[2] or 0)
        assert isinstance(base, Register | Symbol | Literal)
        return Address(base, offset)
    if "|" in text:
        first, second = text.split("|")
        return Pair(parse_operand(first, registers), parse_operand(second, registers))
    if text.startswith("%"):
        return Special(text[1:])
    if re.match(r"-?\d", text):
        return Literal(text)
    name, _, added = text.partition("+")
    return Symbol(name.strip(), int(added or 0))
