"""Reports from what lies in the folder: shards joined, damaged and unfinished cases named."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from medzsad.cli import main
from medzsad.config import make_config
from medzsad.errors import ConfigError, ExitCode
from medzsad.output.lock import LOCKS, CaseLocks, clean_leftovers
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.summary import report_folder
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_nifti

SHAPE = (24, 28, 6)
REPORTS = ("report.json", "report.csv", "report.html")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results of two scans and of a file that is none."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("b", "a"):
        write_nifti(scans / f"{name}.nii.gz", phantom_scan(SHAPE, seed=ord(name)))
    (scans / "c.nii").touch()
    _run(scans, tmp_path / "out")
    return tmp_path / "out"


def _run(scans: Path, out: Path) -> None:
    order = RunOrder((scans,), out, make_config({"threshold": 0.75, "window": "0,1000"}))
    run_cases(order, detector=BrightnessDetector(size=32))


def _names(out: Path) -> list[str]:
    return [case["name"] for case in json.loads((out / "report.json").read_text(encoding="utf-8"))["cases"]]


def test_rebuilt_reports_have_the_bytes_of_the_runs(out: Path) -> None:
    before = {name: (out / name).read_bytes() for name in REPORTS}
    for name in REPORTS:
        (out / name).unlink()
    summary = report_folder(out)
    assert {name: (out / name).read_bytes() for name in REPORTS} == before
    assert summary.exit_code == ExitCode.REFUSED
    assert "3 cases: 2 lesion, 1 refused." in summary.text()


def test_runs_over_parts_of_the_scans_are_joined(out: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write_nifti(tmp_path / "more" / "aa.nii.gz", phantom_scan(SHAPE, seed=3))
    _run(tmp_path / "more", out)
    assert _names(out) == ["a", "aa", "b", "c"]
    elsewhere = tmp_path / "elsewhere"
    _run(tmp_path / "more", elsewhere)
    (elsewhere / "aa").rename(tmp_path / "aa")
    (tmp_path / "aa").rename(elsewhere / "copied")  # not under its own name
    assert [case.name for case in report_folder(elsewhere).incomplete] == ["copied"]


def test_damaged_and_unfinished_cases_are_named_and_the_others_reported(out: Path) -> None:
    mask = out / "a" / "mask.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-1] + b"x")
    (out / "b" / "case.json").write_text("{", encoding="utf-8")
    (out / ".medzsad-partial-d").mkdir()
    (out / ".medzsad-partial-e").mkdir()
    (out / "notes of mine").mkdir()
    with CaseLocks(out) as locks:
        # Taking the lock deletes leftovers, so what it then writes is made afterward.
        assert locks.acquire("e")
        (out / ".medzsad-partial-e").mkdir()
        done = CliRunner().invoke(main, ["report", str(out)])
    assert done.exit_code == ExitCode.FAILED
    assert _names(out) == ["c"]
    for line in (
        "a: incomplete: The result is damaged: mask.nii.gz is damaged",
        "b: incomplete: The result is damaged: case.json is not complete JSON",
        "d: incomplete: A run was stopped while writing it",
        "e: incomplete: A process is writing it now",
        "1 case: 1 refused.",
    ):
        assert line in done.output
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [case["name"] for case in report["incomplete"]] == ["a", "b", "d", "e"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "4 incomplete cases" in page
    assert "notes of mine" not in page


def test_a_folder_without_manifest_is_a_usage_error(tmp_path: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no manifest\.json"):
        report_folder(tmp_path)
    (out / "manifest.json").write_text("[]", encoding="utf-8")
    done = CliRunner().invoke(main, ["report", str(out)])
    assert done.exit_code == ExitCode.USAGE
    assert "damaged" in done.output


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    for name in ("alive", "dead"):
        (tmp_path / f".medzsad-partial-{name}").mkdir()
    with CaseLocks(tmp_path) as locks:
        assert locks.acquire("alive")
        (tmp_path / ".medzsad-partial-alive").mkdir()
        assert clean_leftovers(tmp_path) == (".medzsad-partial-dead",)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCKS, ".medzsad-partial-alive"]
    assert clean_leftovers(tmp_path) == (".medzsad-partial-alive",)


def test_each_case_says_which_version_computed_it(out: Path) -> None:
    path = out / "b" / "case.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["medzsad_version"] == json.loads((out / "manifest.json").read_text("utf-8"))["medzsad_version"]
    values["medzsad_version"] = "0.0.9"
    path.write_text(json.dumps(values), encoding="utf-8")
    report_folder(out)
    cases = json.loads((out / "report.json").read_text(encoding="utf-8"))["cases"]
    assert [case["medzsad_version"] == "0.0.9" for case in cases] == [False, True, False]
    assert "Computed by medzsad 0.0.9." in (out / "report.html").read_text(encoding="utf-8")
