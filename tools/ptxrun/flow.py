"""Splits a kernel into basic blocks, in an order in which diverged threads reconverge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ptxrun.parse import Address, Function, Instruction, Operand, Pair, PtxError, Register, Vector

# Instructions that the threads of a warp execute together.
OF_WARPS = ("shfl", "vote")


def is_of_warp(instruction: Instruction) -> bool:
    return instruction.name in OF_WARPS or (instruction.name == "bar" and "warp" in instruction.modifiers)


def registers_in(operand: Operand) -> Iterable[str]:
    match operand:
        case Register(name=name):
            yield name
        case Address(base=base):
            yield from registers_in(base)
        case Vector(elements=elements):
            for element in elements:
                yield from registers_in(element)
        case Pair(first=first, second=second):
            yield from registers_in(first)
            yield from registers_in(second)


def written(instruction: Instruction) -> set[str]:
    plain_barrier = instruction.name == "bar" and "red" not in instruction.modifiers
    if plain_barrier or instruction.name in ("st", "bra", "ret"):
        return set()
    return set(registers_in(instruction.operands[0]))


def read(instruction: Instruction) -> set[str]:
    first = 1 if written(instruction) else 0
    names = {name for operand in instruction.operands[first:] for name in registers_in(operand)}
    return names | ({instruction.guard[0].name} if instruction.guard else set())


@dataclass
class Block:
    code: list[Instruction] = field(default_factory=list)
    end: Instruction | None = None  # a branch, a return or a barrier of the block of threads
    successors: list[Block] = field(
        default_factory=list
    )  # for a branch, the target first and then the next block
    of_warp: bool = False  # starts with an instruction that a warp executes together
    order: int = -1
    uses: set[str] = field(default_factory=set)  # registers that it reads from earlier blocks
    outputs: set[str] = field(default_factory=set)  # registers that it writes for later ones


def basic_blocks(function: Function) -> list[Block]:
    """Returns the basic blocks in execution order: the first block with waiting threads is executed next.

    The code after a loop or a branch is thus executed by all threads together.
    """
    blocks, labels = [Block()], {}
    for item in function.code:
        block = blocks[-1]
        starts = isinstance(item, str) or is_of_warp(item)
        if block.end or (starts and block.code):
            block = Block()
            blocks.append(block)
        if isinstance(item, str):
            labels[item] = block
        elif item.guard and item.name != "bra":
            raise PtxError(f"unsupported guard: {item}")
        elif item.name in ("bra", "ret") or (item.name == "bar" and not is_of_warp(item)):
            block.end = item
        else:
            block.of_warp |= is_of_warp(item)
            block.code.append(item)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        end = block.end
        if end and end.target:
            block.successors.append(labels[end.target])
        if following and not (end and (end.name == "ret" or (end.target and not end.guard))):
            block.successors.append(following)
    blocks = loops_first(blocks[0])
    find_live_registers(blocks)
    return blocks


def reverse_postorder(entry: Block, successors: Callable[[Block], list[Block]]) -> list[Block]:
    seen, done = {id(entry)}, []
    stack = [(entry, iter(successors(entry)))]
    while stack:
        block, rest = stack[-1]
        for successor in rest:
            if id(successor) not in seen:
                seen.add(id(successor))
                stack.append((successor, iter(successors(successor))))
                break
        else:
            done.append(block)
            stack.pop()
    return done[::-1]


def loops_first(entry: Block) -> list[Block]:
    """Returns a reverse postorder in which the blocks of a loop precede the code after the loop."""
    blocks = reverse_postorder(entry, lambda block: block.successors)
    number = {id(block): i for i, block in enumerate(blocks)}
    predecessors: list[list[int]] = [[] for _ in blocks]
    for i, block in enumerate(blocks):
        for successor in block.successors:
            predecessors[number[id(successor)]].append(i)
    # As bit sets: the dominators of each block.
    dominators, changed = [1] + [(1 << len(blocks)) - 1] * (len(blocks) - 1), True
    while changed:
        changed = False
        for i in range(1, len(blocks)):
            common = -1
            for predecessor in predecessors[i]:
                common &= dominators[predecessor]
            changed |= common | 1 << i != dominators[i]
            dominators[i] = common | 1 << i
    loops: dict[int, set[int]] = {}  # keyed by the first block
    for i, block in enumerate(blocks):
        for first in (number[id(successor)] for successor in block.successors):
            if dominators[i] >> first & 1:
                body, rest = loops.setdefault(first, {first}), [i]
                while rest:
                    each = rest.pop()
                    if each not in body:
                        body.add(each)
                        rest += predecessors[each]
    depth = {id(block): sum(i in body for body in loops.values()) for i, block in enumerate(blocks)}
    # Blocks visited first come last.
    ordered = reverse_postorder(
        entry, lambda block: sorted(block.successors, key=lambda each: depth[id(each)])
    )
    for order, block in enumerate(ordered):
        block.order = order
    return ordered


def find_live_registers(blocks: list[Block]) -> None:
    writes: dict[int, set[str]] = {}
    for block in blocks:
        written_before: set[str] = set()
        for instruction in [*block.code, *([block.end] if block.end else [])]:
            block.uses |= read(instruction) - written_before
            written_before |= written(instruction)
        writes[id(block)] = written_before
    live_before, changed = {id(block): set(block.uses) for block in blocks}, True
    while changed:
        changed = False
        for block in reversed(blocks):
            after = set().union(*(live_before[id(successor)] for successor in block.successors))
            before = block.uses | (after - writes[id(block)])
            changed |= before != live_before[id(block)]
            live_before[id(block)] = before
            block.outputs = after & writes[id(block)]
