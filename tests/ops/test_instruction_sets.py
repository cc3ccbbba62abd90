"""The ops give the same bits with every instruction set of the machine, down to the baseline."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from every_op import DIFFERENTIABLE, OPS, same, valid_arguments

import pose2seg_ops
from pose2seg_ops import _C

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
CASES = [(op, torch.float32) for op in OPS if op in ("fit_pose_templates", "encode_rle", "letterbox")]
CASES += [(op, dtype) for op in OPS if (op, torch.float32) not in CASES for dtype in FLOATING]


def questions() -> list[dict[str, Any]]:
    """Returns valid arguments whose sizes fill vectors and leave remainders, with features in both
    layouts."""
    asked = []
    for op, dtype in CASES:
        for memory_format in (torch.contiguous_format, torch.channels_last):
            arguments = valid_arguments(op, dtype=dtype, scale=7)
            if "input" in arguments:
                arguments["input"] = arguments["input"].contiguous(memory_format=memory_format)
            elif memory_format == torch.channels_last:
                continue
            question: dict[str, Any] = {"op": op, "arguments": arguments}
            if op in DIFFERENTIABLE:
                question["grad"] = torch.randn_like(getattr(pose2seg_ops, op)(**arguments))
            asked.append(question)
    return asked


def answer(op: str, arguments: dict[str, Any], grad: torch.Tensor | None = None) -> Any:
    """Returns the result of the op, and all of its gradients."""
    names = ("input", "keypoints", "matrices") if grad is not None else ()
    leaves = {name: arguments[name].detach().requires_grad_() for name in names if name in arguments}
    output = getattr(pose2seg_ops, op)(**(arguments | leaves))
    return (
        output
        if grad is None
        else (output.detach(), *torch.autograd.grad(output, list(leaves.values()), grad))
    )


def answer_file(asked: str, answered: str) -> None:
    """Answers in another process, which may use another instruction set."""
    answers = [answer(**question) for question in torch.load(asked, weights_only=False)]
    torch.save((torch.backends.cpu.get_cpu_capability(), answers), answered)


@pytest.mark.parametrize("instruction_set", ["default", "avx2"])
def test_every_instruction_set_gives_the_same_bits(tmp_path, instruction_set):
    widest = torch.backends.cpu.get_cpu_capability()
    if widest not in {"default": ("AVX2", "AVX512"), "avx2": ("AVX512",)}[instruction_set]:
        pytest.skip(f"this machine has no wider instruction set than {widest}")
    asked, answered = str(tmp_path / "asked.pt"), str(tmp_path / "answered.pt")
    torch.save(questions(), asked)
    program = f"from test_instruction_sets import answer_file; answer_file({asked!r}, {answered!r})"
    environment = os.environ | {
        "ATEN_CPU_CAPABILITY": instruction_set,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parent)
    used, answers = torch.load(answered, weights_only=False)
    assert used in {"default": ("DEFAULT", "NO AVX"), "avx2": ("AVX2",)}[instruction_set]
    for question, theirs in zip(torch.load(asked, weights_only=False), answers, strict=True):
        assert same(answer(**question), theirs), question["op"]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump, of binutils")
def test_wide_registers_are_used_only_in_dispatched_code():
    """The baseline must have no instruction that an older machine lacks, and the wide versions must use
    theirs."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", _C.__file__]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "x86-64" not in text.partition("Disassembly")[0]:
        pytest.skip("not x86-64")
    widest: dict[str, set[str]] = {}
    for function, body in re.findall(r"^[0-9a-f]+ <(.+)>:\n((?:.+\n)*)", text, re.MULTILINE):
        if registers := set(re.findall(r"%([yz])mm", body)):
            widest[function] = registers
    with_avx512 = [widest.pop(function) for function in list(widest) if "run_with_avx512" in function]
    with_avx2 = [widest.pop(function) for function in list(widest) if "run_with_avx2" in function]
    assert not widest
    assert any("z" in registers for registers in with_avx512)
    assert with_avx2 == [{"y"}] * len(with_avx2) != []
