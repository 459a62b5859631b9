"""Whole or not at all: folders and files under their final name."""

import os
from pathlib import Path

import pytest

from medzsad.errors import OutputError
from medzsad.output.lock import LOCKS, clean_leftovers
from medzsad.output.paths import (
    case_paths,
    partial_paths,
    replace_directory,
)


def _result(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(content, encoding="utf-8")
    return folder


def test_a_new_result_replaces_the_old_one_whole(tmp_path: Path) -> None:
    final = _result(tmp_path / "case", "old")
    (final / "seg.dcm").touch()
    replace_directory(_result(tmp_path / ".medzsad-partial-case", "new"), final)
    assert (final / "case.json").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["case"]
    assert [path.name for path in final.iterdir()] == ["case.json"]


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_kill_at_any_step_leaves_the_old_the_new_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    final = _result(tmp_path / "case", "old")
    partial = _result(tmp_path / ".medzsad-partial-case", "new")
    steps = 0

    class Killed(BaseException):
        pass

    def step(real: object) -> object:
        def wrapped(*arguments: object, **keywords: object) -> object:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise Killed
            return real(*arguments, **keywords)  # type: ignore[operator]

        return wrapped

    for name in ("rename", "unlink", "rmdir", "fsync"):
        monkeypatch.setattr(os, name, step(getattr(os, name)))
    killed = False
    try:
        replace_directory(partial, final)
    except Killed:
        killed = True
    monkeypatch.undo()
    if final.exists():
        assert (final / "case.json").read_text(encoding="utf-8") in ("old", "new")
    clean_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"case", LOCKS}
    assert killed or (final / "case.json").read_text(encoding="utf-8") == "new"


def test_a_folder_that_is_not_a_result_is_not_replaced(tmp_path: Path) -> None:
    final = tmp_path / "case"
    final.mkdir()
    (final / "thesis.txt").write_text("years of work", encoding="utf-8")
    partial = _result(tmp_path / ".medzsad-partial-case", "new")
    with pytest.raises(OutputError, match="is not a result of medzsad"):
        replace_directory(partial, final)
    assert (final / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_leftovers_go_and_everything_else_stays(tmp_path: Path) -> None:
    _result(tmp_path / ".medzsad-partial-a", "half")
    _result(tmp_path / ".medzsad-old-b", "old")
    _result(tmp_path / "c", "whole")
    (tmp_path / ".medzsad-partial-report.json").touch()
    (tmp_path / ".hidden").touch()
    assert clean_leftovers(tmp_path) == (".medzsad-old-b", ".medzsad-partial-a", ".medzsad-partial-report.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", LOCKS, "c"]
    assert clean_leftovers(tmp_path / "absent") == ()


def test_cleaning_does_not_follow_links(tmp_path: Path) -> None:
    elsewhere = _result(tmp_path / "elsewhere", "precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".medzsad-old-x").symlink_to(elsewhere, target_is_directory=True)
    clean_leftovers(out)
    assert (elsewhere / "case.json").exists()
    assert not list(out.iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", ".medzsad-old-x", "a/b", "a\\b", "a\0b"])
def test_names_that_would_leave_the_output_folder_are_refused(tmp_path: Path, name: str) -> None:
    for make in (case_paths, partial_paths):
        with pytest.raises(OutputError, match="cannot be the name"):
            make(tmp_path, name)
