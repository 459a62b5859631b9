"""Files whole or not at all, digests, locks."""

import hashlib
from pathlib import Path

import pytest

from medzsad import files
from medzsad.errors import LockedError, OutputError
from medzsad.files import file_sha256, lock, partial_name, replace_atomic, write_bytes_atomic, write_text_atomic


def test_a_file_is_replaced_without_a_trace(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "r.json", "é\n")
    write_text_atomic(tmp_path / "r.json", "è\n")
    assert (tmp_path / "r.json").read_bytes() == "è\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes_atomic(tmp_path / "r.json", b"old")

    def killed(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomic(tmp_path / "r.json", b"new and longer")
    assert (tmp_path / "r.json").read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        write_bytes_atomic(tmp_path / "absent" / "r.json", b"x")


def test_a_file_written_by_a_library_is_put_in_place_and_its_partial_is_gone(tmp_path: Path) -> None:
    partial = partial_name(tmp_path / "weights.bin")
    partial.write_bytes(b"whole")
    replace_atomic(partial, tmp_path / "weights.bin")
    assert file_sha256(tmp_path / "weights.bin") == hashlib.sha256(b"whole").hexdigest()
    partial.write_bytes(b"another")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="could not be written"):
        replace_atomic(partial, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "weights.bin"]


def test_two_writers_of_one_file_never_share_a_partial(tmp_path: Path) -> None:
    assert partial_name(tmp_path / "r.json") != partial_name(tmp_path / "r.json")


def test_a_lock_is_held_once_and_free_after_an_error(tmp_path: Path) -> None:
    with lock(tmp_path / "new" / "x.lock"), pytest.raises(LockedError, match="in use"), lock(tmp_path / "new/x.lock"):
        pass
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "new" / "x.lock"):
        raise ZeroDivisionError
    with lock(tmp_path / "new" / "x.lock"):
        pass


def test_a_lock_in_a_place_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), lock(tmp_path / "file" / "x.lock"):
        pass
