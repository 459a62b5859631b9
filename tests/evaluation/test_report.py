"""The report holds every metric, its pictures, and no name unescaped."""

import json
import os
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from medzsad.errors import OutputError
from medzsad.evaluation.report import (
    evaluation_html,
    evaluation_schema,
    write_comparison_report,
    write_evaluation_report,
)
from medzsad.evaluation.results import ClassRecord, ProblemRecord
from medzsad.output.schema import json_text
from tests.evaluation.records import MODEL, benchmark, comparison, evaluation


def test_the_page_shows_metrics_reasons_published_ones_and_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 0, 0)).save(tmp_path / "curves.png")
    text = evaluation_html(evaluation(), {"brain_mri": {"Curves": tmp_path / "curves.png"}})
    for words in ("83.1 [78.0, 87.9]", "undefined: no threshold is fixed", "94.3", "-11.2", "second-hand"):
        assert words in text
    assert "data:image/jpeg;base64," in text
    assert "plain: as it is." in text


def test_names_from_files_are_escaped() -> None:
    text = evaluation_html(evaluation(benchmark(title="<script>x</script>")), {})
    assert "<script>" not in text
    assert "&lt;b&gt;a&lt;/b&gt;.png" in text


def test_names_that_are_no_text_do_not_lose_the_results(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.png")
    problem = ProblemRecord(kind="unreadable", severity="warning", subject=name, message=f"{name} is empty.")
    one = ClassRecord(name=name, images=1, abnormal=0, masks=0, subjects=1, metrics={})
    write_evaluation_report(tmp_path, evaluation(benchmark(problems=(problem,), classes=(one,))), {})
    for file in ("results.json", "report.html"):
        assert "a?.png" in (tmp_path / file).read_text(encoding="utf-8")


def test_names_in_comparisons_are_escaped(tmp_path: Path) -> None:
    rows = tuple(row.model_copy(update={"name": "<i>x</i>"}) for row in comparison().rows)
    model = MODEL.model_copy(update={"name": "<script>x</script>"})
    write_comparison_report(tmp_path, comparison().model_copy(update={"rows": rows, "a": model}))
    text = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "<i>" not in text
    assert "<script>" not in text
    assert "&lt;i&gt;x&lt;/i&gt;" in text


def test_more_pictures_than_a_page_can_hold_are_linked(tmp_path: Path) -> None:
    folder = tmp_path / 'a "set"'
    folder.mkdir()
    Image.new("RGB", (3, 2)).save(folder / "curves.png")
    many = {f"picture {n}": folder / "curves.png" for n in range(201)}
    write_evaluation_report(tmp_path, evaluation(), {"brain_mri": many})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count('src="a%20%22set%22/curves.png"') == 201
    assert "data:image" not in text


def test_nothing_is_written_if_a_picture_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_evaluation_report(tmp_path, evaluation(), {"brain_mri": {"Curves": tmp_path / "gone.png"}})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"gone\.png"):
        evaluation_html(evaluation(), {"brain_mri": {"Curves": tmp_path / "gone.png"}})


def test_all_files_are_written_and_fit_the_schema(tmp_path: Path) -> None:
    write_evaluation_report(tmp_path, evaluation(), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.csv", "results.json"]
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(evaluation_schema()).validate(found)
    assert found["benchmarks"][0]["mean"]["dice"]["value"] is None


def test_comparisons_are_written_and_fit_the_schema(tmp_path: Path) -> None:
    write_comparison_report(tmp_path / "new", comparison())
    found = json.loads((tmp_path / "new" / "comparison.json").read_text(encoding="utf-8"))
    schema = {**evaluation_schema(), "$ref": "#/$defs/ModelComparison"}
    jsonschema.Draft202012Validator(schema).validate(found)
    assert "12.5 [5.0, 20.0]" in (tmp_path / "new" / "comparison.html").read_text(encoding="utf-8")
    assert (tmp_path / "new" / "comparison.csv").is_file()


def test_the_shipped_schema_is_that_of_the_models() -> None:
    # After a wanted change: write json_text(evaluation_schema()) to the file.
    shipped = resources.files("medzsad").joinpath("assets/evaluation.schema.json").read_text(encoding="utf-8")
    assert shipped == json_text(evaluation_schema())
