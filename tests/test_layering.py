"""Imports point one way, files and functions stay short."""

import ast
from pathlib import Path

import pytest

from medzsad.methods.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "medzsad"

# What stands on the right may import what stands on the left. A file that is named stands apart from its folder.
LEVELS: list[set[str]] = [
    {"version", "errors", "assets", "unique_keys"},
    {"metrics"},
    {"files", "environment", "config"},
    {"scan"},
    {"slices"},
    {"clip"},
    {"weights.card", "weights.manifest"},
    {"methods"},
    {"weights"},
    {"scoring"},
    {"context"},
    {"volume"},
    {"drawing", "progress"},
    {"output"},
    {"run"},
    {"datasets"},
    {"generator", "phantoms"},
    {"training", "evaluation"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))
# A method is a folder with a method.py, or one file that registers itself as METHOD.
METHOD_FOLDERS = sorted(path.name for path in (PACKAGE / "methods").iterdir() if (path / "method.py").is_file())
METHOD_FILES = sorted(path.stem for path in (PACKAGE / "methods").glob("*.py") if "\nMETHOD = " in path.read_text())


def _part(path: Path) -> str:
    return _part_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def _part_of(module: str) -> str:
    """The entry of LEVELS that a module under medzsad belongs to."""
    return module if module in LEVEL else module.split(".")[0]


def _imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    files = {".".join(("medzsad", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in FILES}
    return {module.removeprefix("medzsad.") for module in modules if module in files}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_to_the_left(path: Path) -> None:
    own = _part(path)
    assert own in LEVEL, f"{own} has no place in the order of packages"
    parts = {module: _part_of(module) for module in _imported_modules(path)}
    wrong = {module for module, part in parts.items() if part != own and LEVEL[part] >= LEVEL[own]}
    assert not wrong, f"{path.name} of level '{own}' imports {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_imports_a_method_but_itself(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[:2]
    for name in (*METHOD_FOLDERS, *METHOD_FILES):
        if own != ("methods", name):
            assert not {m for m in _imported_modules(path) if f"{m}.".startswith(f"methods.{name}.")}, path.name


def test_phantoms_know_of_scans_alone_and_only_calibration_and_choices_know_of_phantoms() -> None:
    known = {module for path in (PACKAGE / "phantoms").glob("*.py") for module in _imported_modules(path)}
    assert {module for module in known if _part_of(module) != "phantoms"} == {"scan.records"}
    users = {_part(path) for path in FILES if any(_part_of(m) == "phantoms" for m in _imported_modules(path))}
    assert users <= {"phantoms", "training", "evaluation"}


def test_the_registry_names_every_method_once() -> None:
    places = {name: f"medzsad.methods.{name}.method:METHOD" for name in METHOD_FOLDERS}
    places |= {name: f"medzsad.methods.{name}:METHOD" for name in METHOD_FILES}
    assert places == {name.replace("-", "_"): place for name, place in METHODS.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 330
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = (first.end_lineno or node.lineno) if documented else node.lineno
            length = (node.end_lineno or 0) - start
            assert length <= 45, f"{node.name} has {length} lines"


def test_the_command_line_imports_nothing_heavy_at_the_top() -> None:
    files = list((PACKAGE / "cli").glob("*.py"))
    names = {
        str(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    light = {"medzsad.errors", "medzsad.version", "medzsad.cli", *(f"medzsad.cli.{path.stem}" for path in files)}
    assert {name for name in names if name.startswith("medzsad")} <= light
    heavy = {"torch", "monai", "open_clip", "numpy", "pydantic", "rich"}
    assert not {str(name).split(".")[0] for name in names} & heavy


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [p for p in FILES if p.stem in {"utils", "helpers", "common", "misc"}]
