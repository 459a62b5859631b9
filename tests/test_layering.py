"""Imports point one way, files and functions stay short."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "medzsad"

# What stands on the right may import what stands on the left; one entry per level.
LEVELS: list[set[str]] = [
    {"version", "errors", "assets"},
    {"config", "environment"},
    {"scan"},
    {"slices"},
    {"clip"},
    {"methods"},
    {"scoring"},
    {"volume"},
    {"output", "resume"},
    {"pipeline", "progress"},
    {"cases"},
    {"batch"},
    {"datasets"},
    {"generator"},
    {"training", "evaluation"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        parts |= {m.split(".")[1] for m in modules if m.startswith("medzsad.")}
    return parts


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_to_the_left(path: Path) -> None:
    own = _part(path)
    assert own in LEVEL, f"{own} has no place in the order of packages"
    wrong = {p for p in _imported_parts(path) if p != own and LEVEL[p] >= LEVEL[own]}
    assert not wrong, f"{path.name} of level '{own}' imports {wrong}"


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
