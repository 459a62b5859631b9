"""SeriesDescription is shown where it names a scan, and left out where it may name a patient."""

import json
from pathlib import Path

import pydicom
import pytest

from medzsad.config import make_config
from medzsad.run.batch import RunOrder, run_cases
from medzsad.scan.discover import discover
from medzsad.scan.records import ReadLimits
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_dicom_series

SHAPE = (24, 28, 6)


def _write(folder: Path, description: str, **tags: str) -> None:
    write_dicom_series(folder, phantom_scan(SHAPE))
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = description
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)


def _shown(folder: Path) -> str:
    (candidate,) = discover([folder], limits=ReadLimits())
    assert candidate.eligible
    return candidate.description


@pytest.mark.parametrize(
    "description",
    ["sT2W/FLAIR", "ep2d_diff_b0_50_800_ADC", "t1_mprage_sag_p2_iso 1.0", "Axial T1 +C, 3 mm", "Kopf nativ überlagert"],
)
def test_a_description_of_the_scan_is_shown(tmp_path: Path, description: str) -> None:
    _write(tmp_path / "s", description)
    assert _shown(tmp_path / "s") == description


@pytest.mark.parametrize(
    "description",
    [
        "AX T2 SECRET", "AX T2 phantom_01", "T2 4711-secret", "T2 secret4711", "born 1901", "born 03.02.1901",
        "AX 19010203", "AX 2/3/01", "T1 2001-02-03", "T1 3 Feb 1999", "T1 mueller", "T1 MÜLLER", "T1 Sécret",
        "T1 王小", "T1 9", "Doctor's T1",
    ],
)  # fmt: skip
def test_a_description_that_may_name_the_patient_is_left_out(tmp_path: Path, description: str) -> None:
    names = "Müller^Eva\\王小^东" if "王" in description else "Müller^Eva\\Mueller^Eva"
    number = "9" if description == "T1 9" else "SECRET-4711"
    _write(tmp_path / "s", description, OtherPatientNames=names, PatientID=number)
    assert _shown(tmp_path / "s") == ""


def test_a_description_is_left_out_where_the_name_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "s", "AX T2", PatientBirthDate="")
    assert _shown(tmp_path / "s") == "AX T2"
    real = pydicom.Dataset.__getitem__

    def unreadable(dataset: pydicom.Dataset, key: object) -> object:
        if key == 0x00100010:
            raise ValueError("Phantom^Secret")
        return real(dataset, key)  # type: ignore[call-overload]

    monkeypatch.setattr(pydicom.Dataset, "__getitem__", unreadable)
    assert _shown(tmp_path / "s") == ""


def test_a_description_is_one_short_line_without_control_characters(tmp_path: Path) -> None:
    _write(tmp_path / "s", "AX\x1b[31m \t T2\u202e \x07" + "x" * 80)
    assert _shown(tmp_path / "s") == "AX[31m T2 " + "x" * 53 + "…"


def test_the_description_reaches_all_reports(tmp_path: Path) -> None:
    _write(tmp_path / "scans" / "s", "AX <T2>")
    _write(tmp_path / "scans" / "secret", "AX secret", SeriesInstanceUID="1.2.3")
    order = RunOrder((tmp_path / "scans",), tmp_path / "out", make_config({"threshold": 0.75, "window": "0,1000"}))
    run_cases(order, detector=BrightnessDetector(size=32))
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert sorted(case["input"]["description"] for case in report["cases"]) == ["", "AX <T2>"]
    assert "AX &lt;T2&gt;" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "AX <T2>" in (tmp_path / "out" / "report.csv").read_text(encoding="utf-8")
