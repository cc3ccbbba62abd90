"""The packages of the model and the folders of csrc depend on each other in one direction only."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from paths import ROOT

MODELS = ROOT / "models"

#: Each package of pose2seg and the packages that it may import.
MAY_IMPORT = {
    "common": {"common"},
    "network": {"network", "common"},
    "data": {"data", "common"},
    "prediction": {"prediction", "data", "network", "common"},
    "evaluation": {"evaluation", "prediction", "data", "network", "common"},
    "training": {"training", "evaluation", "prediction", "data", "network", "common"},
    "commands": {"commands", "training", "evaluation", "prediction", "data", "network", "common"},
}

#: Each folder of csrc and the folders whose headers it may include.
MAY_INCLUDE = {
    "core": {"core"},
    "cpu": {"cpu", "core"},
    "cuda": {"cuda", "core"},
    "ops": {"ops", "cpu", "cuda", "core"},
    "python": {"python", "ops", "core", "cpu"},
}


def imported_modules(path: Path) -> Iterator[str]:
    """Yields the modules of pose2seg that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pose2seg":
            assert node.module is not None
            for name in node.names:
                is_module = MODELS.joinpath(*node.module.split("."), f"{name.name}.py").exists()
                yield f"{node.module}.{name.name}" if is_module else node.module


def module_name(path: Path) -> str:
    parts = path.relative_to(MODELS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    for path in (MODELS / "pose2seg" / package).rglob("*.py"):
        packages = {module.split(".")[1] for module in imported_modules(path)}
        assert packages <= MAY_IMPORT[package], path


def test_every_package_is_listed() -> None:
    packages = {path.parent.name for path in MODELS.glob("pose2seg/*/__init__.py")}
    assert packages == MAY_IMPORT.keys()


def test_no_two_modules_import_each_other() -> None:
    modules = {module_name(path): set(imported_modules(path)) for path in MODELS.rglob("*.py")}
    for name, imported in modules.items():
        imported.discard(name)
    assert list(TopologicalSorter(modules).static_order())  # raises CycleError


@pytest.mark.parametrize("folder", MAY_INCLUDE)
def test_a_folder_of_csrc_includes_only_those_below_it(folder: str) -> None:
    for path in (ROOT / "csrc" / folder).rglob("*.*"):
        included = re.findall(r'^#include "(\w+)/', path.read_text(), re.MULTILINE)
        assert set(included) <= MAY_INCLUDE[folder], path
