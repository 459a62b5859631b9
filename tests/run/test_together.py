"""Several scans of one head as one case: its mask lies on the lesion, and what cannot be used is told."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medzsad.config import make_config
from medzsad.output.schema import CaseRecord
from medzsad.run.batch import RunOrder, plan_run, run_cases
from medzsad.run.executor import ReadAhead
from medzsad.run.processes import Processes
from medzsad.volume.records import Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import Phantom, phantom_scan, write_nifti

FINE = {"shape": (56, 64, 14), "spacing_mm": (1.5, 1.25, 4.0)}
COARSE = {"shape": (28, 40, 22), "spacing_mm": (3.0, 2.0, 2.6), "axcodes": "PIR"}


@pytest.fixture
def detector() -> BrightnessDetector:
    return BrightnessDetector()


def _order(scans: Path, out: Path, overwrite: bool = False, **options: object) -> RunOrder:
    config = make_config({"threshold": 0.75, "window": "0,1000", "together": True, **options})
    return RunOrder((scans,), out, config, overwrite)


def _scans(folder: Path, fine: Phantom | None = None, coarse: Phantom | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_nifti(folder / "p_t1.nii.gz", coarse or phantom_scan(**COARSE, oblique_degrees=(8.0, -5.0, 0.0), seed=1))
    write_nifti(folder / "p_flair.nii.gz", fine or phantom_scan(**FINE, oblique_degrees=(8.0, -5.0, 0.0)))
    return folder


def _together(scans: Path, out: Path, detector: BrightnessDetector, **options: object) -> CaseRecord:
    records = run_cases(_order(scans, out, **options), detector=detector).records
    return next(record for record in records if record.name == "p-together")


def test_the_mask_lies_on_the_lesion_in_the_grid_of_the_finest_scan(
    tmp_path: Path, detector: BrightnessDetector
) -> None:
    fine = phantom_scan(**FINE, oblique_degrees=(8.0, -5.0, 0.0))
    record = _together(_scans(tmp_path / "scans", fine), tmp_path / "out", detector)
    assert record.outcome == Outcome.LESION
    mask = nib.load(tmp_path / "out" / "p-together" / "mask.nii.gz")
    assert np.allclose(mask.affine, fine.scan.affine_ras, atol=1e-4)
    found = np.asarray(mask.dataobj) > 0
    assert 2 * (found & fine.lesion_mask).sum() / (found.sum() + fine.lesion_mask.sum()) > 0.6
    notes = " ".join(record.notes)
    assert "p_flair, p_t1 were put together in the grid of p_flair" in notes
    assert "without registration" in notes


def test_a_lesion_in_one_scan_only_scores_less_than_alone(tmp_path: Path, detector: BrightnessDetector) -> None:
    dark = phantom_scan(**COARSE, oblique_degrees=(8.0, -5.0, 0.0), lesion=False)
    both = _together(_scans(tmp_path / "a"), tmp_path / "a-out", detector)
    one = _together(_scans(tmp_path / "b", coarse=dark), tmp_path / "b-out", detector)
    assert one.max_score is not None
    assert both.max_score is not None
    assert 0.5 < one.max_score < both.max_score


def test_each_scan_stays_a_case_of_its_own_and_a_second_run_scores_nothing(
    tmp_path: Path, detector: BrightnessDetector
) -> None:
    order = _order(_scans(tmp_path / "scans"), tmp_path / "out")
    first = run_cases(order, detector=detector)
    assert [record.name for record in first.records] == ["p_flair", "p_t1", "p-together"]
    assert any(line.startswith("skip    p-together") for line in plan_run(order, detector=detector))
    second = run_cases(order, detector=detector)
    assert second.skipped == 3
    write_nifti(tmp_path / "scans" / "p_t2.nii.gz", phantom_scan(**FINE, oblique_degrees=(8.0, -5.0, 0.0), seed=4))
    third = run_cases(_order(tmp_path / "scans", tmp_path / "out", overwrite=True), detector=detector)
    assert "p_t2" in " ".join(third.records[-1].notes)


def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    scans = _scans(tmp_path / "scans")
    for out, executor in (("one", ReadAhead()), ("two", Processes(2))):
        run_cases(_order(scans, tmp_path / out, threads=1), detector=BrightnessDetector(), executor=executor)
    for name in ("mask.nii.gz", "score.nii.gz", "case.json"):
        one, two = ((tmp_path / out / "p-together" / name).read_bytes() for out in ("one", "two"))
        assert one == two


def test_a_scan_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, detector: BrightnessDetector) -> None:
    scans = _scans(tmp_path / "scans")
    image = nib.Nifti1Image(np.full((28, 40, 22), 7.0, np.float32), np.diag([3.0, 2.0, 2.6, 1.0]))
    nib.save(image, scans / "p_t2.nii.gz")
    record = _together(scans, tmp_path / "out", detector)
    assert record.outcome == Outcome.LESION
    assert any("p_t2 was left out" in text and "every voxel" in text for text in record.warnings)


def test_scans_that_show_different_places_are_refused(tmp_path: Path, detector: BrightnessDetector) -> None:
    far = phantom_scan(**COARSE)
    far.scan.affine_ras[:3, 3] += 500.0
    record = _together(_scans(tmp_path / "scans", coarse=far), tmp_path / "out", detector)
    assert (record.outcome, record.code) == (Outcome.REFUSED, "NOT_TOGETHER")
    assert "0% of the smaller field of view" in record.message


def test_without_the_option_nothing_is_put_together(tmp_path: Path, detector: BrightnessDetector) -> None:
    order = _order(_scans(tmp_path / "scans"), tmp_path / "out", together=False)
    assert [record.name for record in run_cases(order, detector=detector).records] == ["p_flair", "p_t1"]
