"""Files that are damaged on purpose end as refused or failed with a sentence, and cost no other case anything."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medzsad.config import make_config
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.summary import RunSummary
from medzsad.volume.records import Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

MUTANTS = 200
SHAPE = (24, 28, 6)


def _run(scans: Path, out: Path) -> RunSummary:
    # A small limit, so that a header that lies about its size is not believed either.
    return run_cases(
        RunOrder((scans,), out, make_config({"threshold": 0.8, "max_voxels": 2_000_000})),
        detector=BrightnessDetector(size=32),
    )


def _mutate(content: bytes, rng: random.Random) -> bytes:
    kind = rng.choice(["flip", "header", "truncate", "zeros", "insert"])
    changed = bytearray(content)
    if kind == "truncate":
        return bytes(changed[: rng.randrange(len(changed))])
    if kind == "insert":
        place = rng.randrange(len(changed))
        return bytes(changed[:place] + rng.randbytes(rng.randrange(1, 64)) + changed[place:])
    if kind == "zeros":
        start = rng.randrange(len(changed))
        changed[start : start + 200] = bytes(len(changed[start : start + 200]))
        return bytes(changed)
    reach = min(len(changed), 700) if kind == "header" else len(changed)
    for _ in range(rng.randrange(1, 30)):
        changed[rng.randrange(reach)] = rng.randrange(256)
    return bytes(changed)


def _original(folder: Path, number: int) -> Path:
    # A UID of its own for each, so that no two DICOM mutants belong to the same series.
    phantom = phantom_scan(SHAPE, seed=number)
    kind = number % 4
    if kind < 2:
        path = folder / ("case.nii" if kind else "case.nii.gz")
        write_nifti(path, phantom)
        return path
    write_dicom_series(folder, phantom, multiframe=kind == 2, uid_seed=f"original {number}")
    return max(folder.iterdir())


def test_200_mutated_files_end_with_a_sentence_and_the_good_ones_are_scored(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    write_nifti(scans / "a_good_one.nii.gz", phantom_scan(SHAPE, seed=7))
    write_dicom_series(scans / "z_good_series", phantom_scan(SHAPE))
    rng = random.Random(20)
    for number in range(MUTANTS):
        original = _original(_made(tmp_path / f"original_{number}"), number)
        mutant = scans / f"mutant_{number:03d}{''.join(original.suffixes)}"
        mutant.write_bytes(_mutate(original.read_bytes(), rng))
    summary = _run(scans, tmp_path / "out")
    by_label = {record.input.label: record for record in summary.records}
    assert by_label["a_good_one.nii.gz"].outcome == Outcome.LESION
    assert by_label["z_good_series"].outcome == Outcome.LESION
    for record in summary.records:
        assert record.outcome != Outcome.FAILED, f"{record.name}: {record.message} should be foreseen"
        if record.outcome == Outcome.REFUSED:
            assert re.search(r"[a-zA-Z]{3,} .*[.)]$", record.message, re.DOTALL), record
            assert "Traceback" not in record.message
            assert "Secret" not in record.message
    assert sum(r.outcome == Outcome.REFUSED for r in summary.records) > MUTANTS // 3


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=24))
def test_a_fuzzed_nifti_header_ends_in_an_outcome(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write_nifti(folder / "case.nii", phantom_scan(SHAPE))
    content = bytearray((folder / "case.nii").read_bytes())
    for place, value in edits:
        content[place] = value
    (folder / "case.nii").write_bytes(content)
    summary = _run(folder, tmp_path_factory.mktemp("out"))
    assert [record.name for record in summary.records] == ["case"]
    assert summary.records[0].outcome != Outcome.FAILED, summary.records[0].message
