"""A run killed at any moment and started again ends with the same files as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.phantoms import phantom_scan, write_nifti

# The program under test, with a detector that needs no weights and is slow enough to be caught at work.
PROGRAM = """
import sys, time
from pathlib import Path
from medzsad.run import batch
from medzsad.config import make_config
from tests.detectors import BrightnessDetector

class Slow(BrightnessDetector):
    def predict(self, images, class_names, noise):
        time.sleep(0.02)
        return super().predict(images, class_names, noise)

print("ready", flush=True)
order = batch.RunOrder((Path(sys.argv[1]),), Path(sys.argv[2]), make_config({"threshold": 0.8}))
batch.run_cases(order, detector=Slow(size=32))
"""


def _start(scans: Path, out: Path) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(scans), str(out)], env=environment, stdout=subprocess.PIPE, text=True
    )


def _ready(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return time.monotonic()


def _finish(scans: Path, out: Path) -> float:
    """Runs to the end; the seconds that took, the start of the interpreter aside."""
    process = _start(scans, out)
    started = _ready(process)
    process.communicate(timeout=120)
    assert process.returncode == 0
    return time.monotonic() - started


def _bytes(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def _kill_and_resume(tmp_path: Path, kills: int) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(10):
        write_nifti(scans / f"case{number}.nii.gz", phantom_scan((24, 28, 6), seed=number))
    seconds = _finish(scans, tmp_path / "whole")
    expected = _bytes(tmp_path / "whole")
    rng = random.Random(1)
    out = tmp_path / "out"
    for _ in range(kills):
        process = _start(scans, out)
        _ready(process)
        time.sleep(rng.uniform(0.0, 0.9 * seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for finished in out.glob("case*/case.json"):
            assert {p.name for p in finished.parent.iterdir()} == {
                "mask.nii.gz", "score.nii.gz", "case.json", "montage.png",
            }  # fmt: skip
    _finish(scans, out)
    assert _bytes(out) == expected


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_run_killed_3_times_ends_with_the_same_files(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, kills=3)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_run_killed_20_times_ends_with_the_same_files(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, kills=20)
