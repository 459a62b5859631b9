"""One run at a time per output folder."""

import os
from pathlib import Path

import pytest

from medzsad.errors import OutputError
from medzsad.output.lock import only_run


@pytest.mark.skipif(os.name == "nt", reason="there are no advisory locks on Windows")
def test_a_second_run_into_the_same_folder_is_told_to_wait(tmp_path: Path) -> None:
    with only_run(tmp_path), pytest.raises(OutputError, match="Another run"), only_run(tmp_path):
        pass


def test_the_folder_is_free_after_the_run_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_run(tmp_path):
        raise ZeroDivisionError
    with only_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), only_run(tmp_path / "file" / "out"):
        pass
