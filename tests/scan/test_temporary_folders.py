"""Unpacked scans hold data of patients: no end of a process leaves them behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest

from medzsad.scan.temporary_folders import scratch_folder
from tests.phantoms import phantom_scan, write_nifti

ROOT = Path(__file__).resolve().parents[2]
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

PROGRAM = """
import sys, time
from pathlib import Path
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.records import ReadLimits
with temporary_unpack_dir() as folder:
    discover([Path(sys.argv[1])], limits=ReadLimits(), unpack_dir=folder)
    print("unpacked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_nifti(tmp_path / "a.nii", phantom_scan((12, 15, 9)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.write(tmp_path / "a.nii", "a.nii")
    (tmp_path / "temporary").mkdir()
    return tmp_path / "a.zip"


def unpacking(archive: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(archive.with_name("temporary"))}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(archive)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "unpacked\n"
    return process


def left(archive: Path) -> list[Path]:
    return [path for path in archive.with_name("temporary").rglob("*") if path.suffix == ".nii"]


@posix_only
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_the_process_as_usual_and_leaves_nothing_unpacked(archive: Path, name: str) -> None:
    process = unpacking(archive)
    assert len(left(archive)) == 1
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=30)
    assert process.returncode == -getattr(signal, name)
    assert list(archive.with_name("temporary").iterdir()) == []


@posix_only
def test_what_a_killed_process_has_left_is_removed_at_the_next_start(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = unpacking(archive)
    killed.kill()
    killed.communicate(timeout=30)
    assert len(left(archive)) == 1
    running = unpacking(archive)
    assert len(left(archive)) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(archive.with_name("temporary")))
    with scratch_folder():
        assert len(left(archive)) == 1  # that of the process that runs
    running.kill()
    running.communicate(timeout=30)
    with scratch_folder() as folder:
        assert left(archive) == []
        assert folder.is_dir()


def test_folders_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("medzsad-notes", "medzsad-99999999-made_by_hand", "other-99999999-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").touch()
    (tmp_path / "medzsad-99999999-link").symlink_to(tmp_path / "other-99999999-x")
    (tmp_path / "other-99999999-x" / ".in-use").touch()
    with scratch_folder() as folder:
        assert folder.parent.parent == tmp_path
    assert len(list(tmp_path.glob("*/kept"))) == 4


@posix_only
def test_a_handler_of_the_program_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        with scratch_folder():
            assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGTERM) is own
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with scratch_folder(), scratch_folder():
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_it_works_in_another_thread() -> None:
    made: list[Path] = []

    def work() -> None:
        with scratch_folder() as folder:
            made.append(folder)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert made
    assert not made[0].parent.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_is_ended_takes_nothing_of_its_parent_along() -> None:
    program = (
        "import os, signal, time\n"
        "from medzsad.scan.temporary_folders import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "    time.sleep(0.3)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    print(os.WTERMSIG(status), folder.is_dir())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{int(signal.SIGTERM)} True\n"
