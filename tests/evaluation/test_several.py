"""Several weights on one set: every one evaluated, one table of paired differences, and the same images under all."""

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from medzsad.cli import main
from medzsad.evaluation.report import evaluation_schema
from medzsad.evaluation.synthetic import make_head
from medzsad.weights.card import ModelCard
from medzsad.weights.store import save_weights
from tests import tiny
from tests.training.tiny_training import write_tower


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def _weights(folder: Path) -> list[Path]:
    """Two weights files with other prompts."""
    second = folder / "second.safetensors"
    write_tower(second)
    first = folder / "first.safetensors"
    card = tiny.card(clip_config=tiny.CONFIG, clip_name="tiny-tower", class_name="brain", threshold=0.4)
    clip = tiny.tower()
    clip.token_embedding.weight[2000:49000] += 0.01
    save_weights(first, tiny.prompts(), card, clip)
    return [first, second]


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brains") / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(3):
        gray, lesions = make_head(number)
        k = int(lesions.sum(axis=(0, 1)).argmax())
        pixels = np.rint(np.clip(gray[:, :, k].T / 1.5, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray((lesions[:, :, k].T * 255).astype(np.uint8)).save(root / "masks" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def compared(brains: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    first, second = _weights(folder)
    asked = ("--benchmark", "colondb", "--data", brains, "--class-name", "head", "-o", folder / "out")
    done = _run(*asked, "--weights", first, "--weights", second)
    assert done.exit_code == 0, done.output
    assert "Differences are to first" in done.output
    assert "second [difference, 95 % interval]" in done.output
    return folder / "out"


def test_each_is_evaluated_into_a_folder_of_its_name(compared: Path) -> None:
    values = {}
    for name in ("first", "second"):
        record = json.loads((compared / name / "results.json").read_text(encoding="utf-8"))
        values[name] = record["benchmarks"][0]["mean"]["pixel_auroc"]["value"]
    with (compared / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "pixel_auroc"]
    assert [row["weights"] for row in rows] == ["first", "second"]
    assert [float(row["value"]) for row in rows] == pytest.approx([values["first"], values["second"]])
    assert float(rows[1]["difference"]) == pytest.approx(values["second"] - values["first"], abs=1e-9)
    assert values["first"] != values["second"]


def test_the_record_follows_its_schema_and_the_page_names_all(compared: Path) -> None:
    record = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator({**evaluation_schema(), "$ref": "#/$defs/SeveralComparison"}).validate(record)
    assert record["weights"] == ["first", "second"]
    assert ModelCard.model_validate(record["comparisons"][0]["a"]).threshold == 0.4
    page = (compared / "comparison.html").read_text(encoding="utf-8")
    assert 'href="first/report.html"' in page
    assert page.count("data:image/jpeg;base64,") == 1


def test_the_picture_has_a_column_for_the_image_and_one_for_each(compared: Path) -> None:
    with Image.open(compared / "colondb.png") as sheet:
        width, height = sheet.size
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert width > 3 * 230
    assert height > 3 * 200
    columns = [pixels[60:, left : left + 200] for left in (20, 260, 500)]
    assert not np.array_equal(columns[0], columns[1])
    assert not np.array_equal(columns[1], columns[2])


def test_weights_of_one_name_are_refused(brains: Path, tmp_path: Path) -> None:
    asked = ("--benchmark", "colondb", "--data", brains, "-o", tmp_path / "out")
    done = _run(*asked, "--weights", "medzsad-mini", "--weights", tmp_path / "medzsad-mini.safetensors")
    assert done.exit_code == 2
    assert "Two weights are called medzsad-mini" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--tolerance", "1"), ("--scores-from", "earlier")])
def test_what_is_for_one_model_is_refused(option: tuple[str, str], brains: Path, tmp_path: Path) -> None:
    asked = ("--benchmark", "colondb", "--data", brains, "-o", tmp_path / "out", *option)
    done = _run(*asked, "--weights", "a", "--weights", "b")
    assert done.exit_code == 2
    assert "for one --weights" in done.output
