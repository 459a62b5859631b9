"""The reports of a run."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from medzsad.config import RunConfig
from medzsad.errors import ReasonCode
from medzsad.output import report as report_module
from medzsad.output.case import CaseFacts, write_case
from medzsad.output.report import MOST_PICTURE_BYTES, csv_text, write_reports
from medzsad.output.schema import CaseRecord, ModelRecord, RunManifest, report_schema
from medzsad.volume.records import CaseResult, Outcome
from tests.output.conftest import SECRETS, MakeResult, candidate_of, with_nifti_header
from tests.phantoms import Phantom


class _Page(HTMLParser):
    """Collects what stands in a page, and whether its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture
def cases(make_result: MakeResult, model: ModelRecord, phantom: Phantom, tmp_path: Path) -> list[CaseRecord]:
    sick = make_result(with_nifti_header(phantom.scan))
    healthy = make_result(replace(phantom.scan, name="healthy"), threshold=0.95)
    refused = CaseResult("refused", Outcome.REFUSED, code=ReasonCode.GEOMETRY_GAP, message="<b>gap</b> of 5 mm")
    failed = CaseResult("failed", Outcome.FAILED, message="=cmd|' /C calc'!A0")
    return [
        write_case(result, tmp_path, CaseFacts(candidate_of(result), "c" * 64, result.name, RunConfig(), model))
        for result in (sick, healthy, refused, failed)
    ]


def test_all_reports_are_written_and_repeat_byte_by_byte(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    names = ("report.json", "report.csv", "report.html")
    write_reports(tmp_path, manifest, cases)
    before = [(tmp_path / name).read_bytes() for name in names]
    write_reports(tmp_path, manifest, cases)
    assert [(tmp_path / name).read_bytes() for name in names] == before
    assert not list(tmp_path.glob(".medzsad-*"))


def test_json_follows_the_shipped_schema(cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path) -> None:
    write_reports(tmp_path, manifest, cases)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(report_schema()).validate(report)
    assert report["counts"] == {"lesion": 1, "no_lesion": 1, "refused": 1, "failed": 1}
    assert [case["name"] for case in report["cases"]] == ["phantom case", "healthy", "refused", "failed"]
    assert report["manifest"]["model"]["threshold_provenance"] == "phantoms, F1"
    assert report["manifest"]["config"]["axis"] == "acquisition"
    schema = {**report_schema(), "$ref": "#/$defs/CaseRecord"}
    case = json.loads((tmp_path / "phantom case" / "case.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(case)
    case["lesions"][0]["max_score"] = 3
    assert not jsonschema.Draft202012Validator(schema).is_valid(case)


def test_csv_has_a_row_per_lesion_and_one_for_a_case_without(cases: list[CaseRecord]) -> None:
    lesion = cases[0].lesions[0]
    two = cases[0].model_copy(update={"lesions": (lesion, lesion.model_copy(update={"index": 2}))})
    rows = list(csv.DictReader(io.StringIO(csv_text([two, *cases[1:]]))))
    assert [row["case"] for row in rows] == ["phantom case", "phantom case", "healthy", "refused", "failed"]
    assert [row["lesion"] for row in rows] == ["1", "2", "", "", ""]
    assert float(rows[0]["volume_mm3"]) == lesion.volume_mm3
    assert float(rows[0]["centroid_lps_y_mm"]) == lesion.centroid_lps_mm[1]
    assert (int(rows[0]["k_first"]), int(rows[0]["k_last"])) == lesion.bounding_box[2]
    assert (rows[3]["outcome"], rows[3]["code"]) == ("refused", "GEOMETRY_GAP")


def test_csv_holds_no_formulas(cases: list[CaseRecord]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(cases))))
    assert rows[3]["message"].startswith("'=cmd")


def test_html_names_model_notice_counts_and_every_case(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    write_reports(tmp_path, manifest, cases)
    page = _page(tmp_path / "report.html")
    for expected in ("Research use, not a medical device", "tiny", "phantoms, F1", "GEOMETRY_GAP", "a <remark> & more"):
        assert expected in page.text
    targets = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert {f"case-{n}" for n in range(1, 5)} <= set(targets)
    for link in links:
        assert link is not None
        assert link[1:] in targets if link.startswith("#") else (tmp_path / link.replace("%20", " ")).is_file()


def test_html_is_self_contained_and_escaped(cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path) -> None:
    write_reports(tmp_path, manifest, cases)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _page(tmp_path / "report.html")
    assert "<b>gap</b>" not in text
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe"}
    assert not re.findall(r"https?://", text)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2
    for picture in pictures:
        source = picture["src"] or ""
        assert source.startswith("data:image/jpeg;base64,/9j/")
        assert len(source) * 3 / 4 <= MOST_PICTURE_BYTES + 100
        assert picture["loading"] == "lazy"


def test_many_cases_link_their_pictures(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "MOST_EMBEDDED_CASES", 3)
    write_reports(tmp_path, manifest, cases)
    sources = [attributes["src"] for tag, attributes in _page(tmp_path / "report.html").tags if tag == "img"]
    assert sources == ["phantom%20case/montage.png", "healthy/montage.png"]


def test_a_run_without_cases_has_reports_too(manifest: RunManifest, tmp_path: Path) -> None:
    write_reports(tmp_path / "new" / "out", manifest, [])
    assert "0 cases" in _page(tmp_path / "new" / "out" / "report.html").text


def test_nothing_of_the_patient_gets_into_a_report(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    write_reports(tmp_path, manifest, cases)
    for path in tmp_path.glob("report.*"):
        for secret in (*SECRETS, "/somewhere/private"):
            assert secret not in path.read_text(encoding="utf-8"), path.name
