"""Processor threads of runs side by side."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medzsad.run import threads
from medzsad.run.threads import cpu_threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """torch's number of threads, without touching torch."""
    now = [8]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    return now


def test_a_run_alone_takes_all_cores_and_runs_beside_others_a_share(cores: list[int], tmp_path: Path) -> None:
    with cpu_threads(None, tmp_path) as first:
        assert first == 8
        with cpu_threads(None, tmp_path) as second:
            assert (second, cores[0]) == (4, 4)
        cores[0] = 8
        with cpu_threads(None, tmp_path) as third:
            assert third == 4
    assert cores[0] == 8
    with cpu_threads(None, tmp_path) as alone_again:
        assert alone_again == 8


def test_three_runs_share_in_three(cores: list[int], tmp_path: Path) -> None:
    cores[0] = 9
    with cpu_threads(3, tmp_path), cpu_threads(9, tmp_path), cpu_threads(None, tmp_path) as third:
        assert third == 3


def test_a_wish_and_the_environment_come_first(
    cores: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cpu_threads(3, tmp_path) as wanted:
        assert (wanted, cores[0]) == (3, 3)
        monkeypatch.setenv("OMP_NUM_THREADS", "6")
        cores[0] = 6
        with cpu_threads(None, tmp_path) as told:
            assert told == 6


def test_a_run_that_was_killed_does_not_count(cores: list[int], tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from medzsad.run.threads import cpu_threads\n"
        "with cpu_threads(1, Path(sys.argv[1])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    assert (tmp_path / "run-0.lock").exists()
    with cpu_threads(None, tmp_path) as alone:
        assert alone == 8


def test_a_folder_that_cannot_be_written_counts_as_being_alone(cores: list[int], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with cpu_threads(None, tmp_path / "file" / "runs") as alone:
        assert alone == 8


def test_runs_of_different_users_have_different_places(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for user in ("ada", "bob"):
        monkeypatch.setattr(threads.getpass, "getuser", lambda user=user: user)
        names.append(threads._places().name)
    assert len(set(names)) == 2
