"""The reports of a run."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from medzsad.config import RunConfig
from medzsad.errors import ReasonCode
from medzsad.output import report as report_module
from medzsad.output.case import write_case
from medzsad.output.facts import CaseFacts
from medzsad.output.report import MOST_PICTURE_BYTES, csv_text, threshold_text, write_reports
from medzsad.output.schema import CaseRecord, RunManifest, report_schema
from medzsad.run.summary import counted
from medzsad.volume.records import CaseResult, Outcome
from medzsad.weights.card import ModelCard
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
def cases(make_result: MakeResult, model: ModelCard, phantom: Phantom, tmp_path: Path) -> list[CaseRecord]:
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


def _colors(scheme: str) -> dict[str, str]:
    """The colors of the style sheet in the light or the dark scheme."""
    css = resources.files("medzsad").joinpath("assets/report.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css[: css.index("@media")]))
    start = css.index("prefers-color-scheme: dark")
    dark = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css[start : css.index("}", start)]))
    return light if scheme == "light" else {**light, **dark}


def _luminance(color: str) -> float:
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_badges_and_text_have_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    colors = _colors(scheme)
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    for badge in ("lesion", "no_lesion", "refused", "failed", "warning"):
        assert _contrast("#ffffff", colors[badge]) >= 4.5, badge
    for text in ("text", "quiet", "accent"):
        for ground in ("page", "card"):
            assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


def test_the_header_shows_the_threshold_that_was_used_and_who_chose_it(manifest: RunManifest) -> None:
    assert threshold_text(manifest) == "0.5, stored with the weights (phantoms, F1)"
    given = manifest.model_copy(update={"config": {**manifest.config, "threshold": 0.7}})
    assert threshold_text(given) == "0.7, given by the user (the weights hold 0.5)"
    bare = given.model_copy(update={"model": manifest.model.model_copy(update={"threshold": None})})
    assert threshold_text(bare) == "0.7, given by the user (the weights hold none)"


def _page_of(out: Path, manifest: RunManifest, *cases: CaseRecord) -> str:
    write_reports(out, manifest, cases)
    return " ".join(_page(out / "report.html").text.split())


def test_the_table_shows_place_description_warnings_and_the_score_of_a_healthy_case(
    make_result: MakeResult, model: ModelCard, manifest: RunManifest, tmp_path: Path
) -> None:
    result = replace(make_result(threshold=0.95), warnings=("The CT window lung was applied to modality 'MR'.",))
    candidate = candidate_of(result)
    record = write_case(result, tmp_path, CaseFacts(candidate, "c" * 64, "k", RunConfig(), model))
    record = record.model_copy(update={"input": record.input.model_copy(update={"description": "t2_flair_tra"})})
    text = _page_of(tmp_path, manifest, record)
    highest = float(result.score.max())  # type: ignore[union-attr]
    for words in ("sub folder/a.nii.gz", "t2_flair_tra", "1 warning", "The CT window lung", f"{highest:.3f} / 0.950"):
        assert words in text
    row = next(iter(csv.DictReader(io.StringIO(csv_text([record])))))
    assert row["warnings"].startswith("The CT window lung")
    assert (row["description"], float(row["case_max_score"])) == ("t2_flair_tra", pytest.approx(highest, abs=1e-6))


def test_instance_numbers_stand_beside_slice_indices_where_there_are_any(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    assert "InstanceNumber" not in _page_of(tmp_path, manifest, cases[0])
    lesion = cases[0].lesions[0].model_copy(update={"instance_first": 17, "instance_last": 21})
    numbered = cases[0].model_copy(update={"lesions": (lesion,)})
    text = _page_of(tmp_path, manifest, numbered)
    assert "InstanceNumber" in text
    assert "17 to 21" in text


def test_instance_numbers_that_are_not_consecutive_are_not_shown_as_a_range_of_slices(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    lesion = cases[0].lesions[0]
    slices = lesion.bounding_box[2][1] - lesion.bounding_box[2][0]
    for last, marked in ((slices + 3, False), (slices + 4, True)):
        numbered = lesion.model_copy(update={"instance_first": 3, "instance_last": last})
        text = _page_of(tmp_path, manifest, cases[0].model_copy(update={"lesions": (numbered,)}))
        assert (f"3 to {last} (not consecutive)" in text) is marked


def test_spread_is_explained_and_left_out_for_models_with_one_sample(
    cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path
) -> None:
    assert "standard deviation of the score over the 3 prompt samples" in _page_of(tmp_path, manifest, cases[0])
    single = manifest.model_copy(update={"model": manifest.model.model_copy(update={"samples": 1})})
    text = _page_of(tmp_path, single, cases[0])
    assert "Spread" not in text
    assert "1 prompt sample," in text


def test_one_case_is_one_case(cases: list[CaseRecord], manifest: RunManifest, tmp_path: Path) -> None:
    assert "1 case " in f"{_page_of(tmp_path, manifest, cases[0])} "
    assert counted((cases[0],)) == "1 case: 1 lesion."
    assert counted(tuple(cases), " (1 done before)") == (
        "4 cases (1 done before): 1 lesion, 1 no_lesion, 1 refused, 1 failed."
    )
    assert counted(()) == "0 cases."


def test_printing_gives_one_row_per_case_and_cuts_no_column() -> None:
    css = resources.files("medzsad").joinpath("assets/report.css").read_text(encoding="utf-8")
    printed = css[css.index("@media print") :]
    assert "landscape" in printed
    assert "section.case { display: none; }" in printed
    assert ".scroll { overflow: visible; }" in printed
    assert "tr { break-inside: avoid; }" in printed
