"""The code in the documentation runs, and its links lead to existing files."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, takewhile
from pathlib import Path

import draw_conventions
import pytest
import torch
from paths import ROOT
from people import draw_dataset, write_annotations
from pose2seg import load_templates, save_checkpoint
from pose2seg.commands import cli
from small_model import small_model

PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Yields the fenced blocks of a language: the number of the first line, and the text."""
    text = page.read_text()
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


# Python


@pytest.fixture
def files_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates the files that the pages use in the current folder: a model with random weights, and drawn
    images."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    drawn = draw_dataset(Path("images"))
    images = [replace(image, path=image.path.rename(image.path.with_suffix(".jpg"))) for image in drawn]
    write_annotations(images, Path("poses.json"))
    write_annotations(images, Path("annotations.json"))
    torch.manual_seed(0)
    save_checkpoint(small_model(load_templates()), Path("model.safetensors"))


HAS_A_TEST_OF_ITS_OWN = ROOT / "docs/deploy.md"  # test_export.py creates the models that it runs


@pytest.mark.usefixtures("files_of_a_reader", "one_thread")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(blocks(page, "python")) and page != HAS_A_TEST_OF_ITS_OWN],
    ids=lambda page: page.name,
)
def test_the_python_of_a_page_runs(page: Path) -> None:
    """Runs the page from top to bottom, like one session."""
    for module in ("onnxruntime", "onnxscript"):  # installed by an extra
        if module in page.read_text():
            pytest.importorskip(module, reason=f"{module} is not installed")
    names: dict[str, object] = {}
    for line, block in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + block, str(page), "exec"), names)


# Commands


def commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of every command of a page."""
    for _, block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                command = list(takewhile(lambda word: word != "&&", words))
                yield command
                words = words[len(command) + 1 :]


def extras() -> set[str]:
    """Returns the names under [project.optional-dependencies]; Python 3.10 has no tomllib."""
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    return set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))


@each_page
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for words in commands(page):
        if "pose2seg" in words:  # also after torchrun
            cli._parser().parse_args(words[words.index("pose2seg") + 1 :])
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(words) if words[0] == "pip" else ""):
            assert extra == "" or set(extra.split(",")) <= extras()
        for before, path in pairwise(["", *words]):
            if before != "--output" and re.match(r"(benchmarks|csrc|docs|examples|tests|tools)/", path):
                assert any(ROOT.glob(path)), f"{page}: {path}"


@each_page
def test_no_command_is_hidden_from_the_tests(page: Path) -> None:
    """Rejects commands in a block without a language, or in an indented one."""
    assert not re.search(r"^ {4,}(pip|pose2seg|pytest|python|torchrun) ", page.read_text(), re.MULTILINE)
    opened = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)[::2]
    assert all(opened), f"{page}: a block without a language"


# Links and images


@each_page
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_folder_is_on_the_page_of_folders() -> None:
    """Every folder must be listed once, except for those that tools collect."""
    if not (ROOT / ".git").exists():
        pytest.skip("a source distribution does not say which files git tracks")
    tracked = subprocess.check_output(["git", "--git-dir=.git", "ls-files"], cwd=ROOT, text=True).splitlines()
    folders = {str(Path(path).parent) for path in tracked}
    expected = {
        folder for folder in folders if not re.match(r"(\.|fuzz/corpus/.*|docs/benchmarks.*)$", folder)
    }
    listed = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/tree.md").read_text(), re.MULTILINE)
    assert set(listed) == expected
    assert len(listed) == len(expected)


def test_the_drawing_of_the_conventions_is_up_to_date() -> None:
    assert draw_conventions.OUTPUT.read_text() == draw_conventions.draw()
