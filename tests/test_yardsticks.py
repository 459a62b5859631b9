"""The tables of yardsticks: one command measures all sets of a data folder and prints what came out."""

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.detectors import BrightnessDetector

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import yardstick_columns as columns  # noqa: E402
import yardstick_data as data  # noqa: E402
import yardstick_groups as groups  # noqa: E402
import yardstick_tables as tables  # noqa: E402
import yardsticks  # noqa: E402

STEMS = {
    "ct_brain_hemorrhage": ("120018", "120019", "121025", "123010"),
    "breast_ultrasound": ("1-benign_0804-s", "benign_0804-l", "malignant_0261-l", "malignant_0266-l"),
    "retina_exudates": ("IDRiD_01", "IDRiD_02", "IDRiD_03", "IDRiD_04"),
    "polyps_colondb": ("102", "131", "160", "181"),
    "polyps_etis": ("1", "10", "11", "12"),
    "skin": ("ISIC_0024340", "ISIC_0024355", "ISIC_0024357", "ISIC_0024377"),
    "ms_flair_slices": ("105006", "105008", "106014", "108009"),
    "liver_ct_sagittal": ("10019_119", "10019_122", "10020_59", "10020_60"),
}
COLOR = ("retina_exudates", "polyps_colondb", "polyps_etis", "skin")


class Bodies:
    """Dim bodies (48, 60) with noise, with or without a bright lesion."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)

    def plane(self, lesion: bool) -> tuple[np.ndarray, np.ndarray]:
        image, mask = np.zeros((48, 60)), np.zeros((48, 60), bool)
        image[6:42, 8:52] = 90
        if lesion:
            mask[10:17, 12:22] = True
        noise = self.rng.normal(0, 4, image.shape)
        return np.clip(image + 140 * mask + noise, 0, 255).astype(np.uint8), mask

    def volume(self, lesions: tuple[int, ...]) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
        slices = [self.plane(lesion=number in lesions) for number in range(7)]
        image, mask = (np.stack([one[part].T for one in slices], axis=2) for part in (0, 1))
        affine = np.diag([-0.8, -1.1, 4.0, 1.0])
        return nib.Nifti1Image(image.astype(np.int16), affine), nib.Nifti1Image(mask.astype(np.uint8), affine)


def make_data(folder: Path) -> Path:
    """A folder laid out as the development data; its healthy volume has a bright spot."""
    bodies = Bodies()
    lgg, brain = folder / "medical" / "brain_mri_lgg", folder / "medical" / "brain_mri"
    sets = [folder / "development" / name for name in STEMS]
    healthy = folder / "development" / "healthy_volumes"
    masked = [path / part for path in (lgg, *sets) for part in ("images", "masks")]
    for path in (*masked, brain / "no", brain / "yes", healthy):
        path.mkdir(parents=True)
    for number in range(6):
        image, mask = bodies.plane(lesion=True)
        name = f"TCGA_XX_{number // 2:04d}_20000101_{number}.png"
        Image.fromarray(np.stack([image // 2, image, image // 3], axis=-1)).save(lgg / "images" / name)
        Image.fromarray(mask.astype(np.uint8) * 255).save(lgg / "masks" / name)
        Image.fromarray(image).save(brain / "yes" / f"Y{number}.png")
        Image.fromarray(bodies.plane(lesion=False)[0]).save(brain / "no" / f"N{number}.png")
    for path in sets:
        for stem in STEMS[path.name]:
            image, mask = bodies.plane(lesion=True)
            color = path.name in COLOR
            pixels = np.stack([image, image // 2, image // 3], axis=-1) if color else image
            Image.fromarray(pixels).save(path / "images" / f"{stem}{'.jpg' if color else '.png'}")
            Image.fromarray(mask.astype(np.uint8) * 255).save(path / "masks" / f"{stem}.png")
    for name, truth_name in (("brainix", "ROI"), ("ms_patient07", "lesions")):
        target = folder / "volumes" / name
        target.mkdir(parents=True)
        image, mask = bodies.volume((2, 3))
        nib.save(image, target / "FLAIR.nii.gz")
        nib.save(mask, target / f"{truth_name}.nii.gz")
    nib.save(bodies.volume((2, 3))[0], healthy / "spotted.nii.gz")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("development") / "data")


@pytest.fixture
def bright_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the loading of weights: a detector of brightness, so that the figures are known."""
    monkeypatch.setattr(
        yardsticks,
        "weights_column",
        lambda name: columns.model_column(BrightnessDetector(60, threshold=0.7), "weights"),
    )
    monkeypatch.setattr(yardsticks, "untrained_column", lambda name: None)


def run(*arguments: object) -> str:
    outcome = CliRunner().invoke(yardsticks.main, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.mark.usefixtures("bright_weights")
def test_one_command_measures_every_set(folder: Path, tmp_path: Path) -> None:
    text = run(folder, "--weights", "any", "--json", tmp_path / "results" / "first.json")
    record = json.loads((tmp_path / "results" / "first.json").read_text(encoding="utf-8"))
    assert record["limit"] is None
    values: dict[str, Any] = record["columns"][0]["values"]
    assert list(values) == list(record["headings"]) == ["brainix", "lgg", "brain_mri", "ms", *STEMS]
    assert values["brainix"]["Dice at the threshold"]["value"] > 0.9
    assert values["brainix"]["outcome"] == "lesion"
    assert values["lgg"]["pixel AP"]["value"] > 0.95
    assert values["lgg"]["pixel AP"]["low"] <= values["lgg"]["pixel AP"]["value"] <= values["lgg"]["pixel AP"]["high"]
    assert values["lgg"]["share of slices whose largest mark touches the tumor"]["value"] == 1.0
    assert values["brain_mri"]["image AUROC, largest pixel"]["value"] == 1.0
    assert values["brain_mri"]["share of normal images flagged"]["value"] == 0.0
    assert values["brain_mri"]["share of tumor images flagged"]["value"] == 1.0
    assert (values["ms"]["lesions touched"]["value"], values["ms"]["false components"]["value"]) == (1, 0)
    assert values["ms"]["voxel AP"]["low"] is None
    for name in STEMS:
        assert values[name]["pixel AP"]["value"] > 0.95, name
        assert values[name]["mean Dice per picture"]["value"] > 0.85, name
        assert not any("image" in row for row in values[name]), "without normal pictures images cannot be ranked"
    assert "6 slices of 3 patients" in text
    assert "4 pictures of 3 subjects, 4 abnormal; no normal pictures, so no image AUROC" in text
    assert "It flags 0.0% of the normal BrainMRI images." in text
    assert "LIMITED" not in text


@pytest.mark.usefixtures("bright_weights")
def test_only_models_are_asked_about_healthy_volumes(folder: Path, tmp_path: Path) -> None:
    text = run(folder, "--json", tmp_path / "healthy.json")
    shown, *others = json.loads((tmp_path / "healthy.json").read_text(encoding="utf-8"))["columns"]
    spotted = shown["healthy"]["spotted"]
    assert (spotted["outcome"], spotted["lesions"], spotted["air_ml"]) == ("lesion", 1, 0)
    assert spotted["marked_ml"] == pytest.approx(2 * 70 * 0.8 * 1.1 * 4 / 1000, rel=0.2)
    assert spotted["largest_ml"] == pytest.approx(spotted["marked_ml"])
    assert all(not column["healthy"] for column in others)
    assert "called lesion: 1 of 1" in text


def test_healthy_volumes_are_told_one_by_one_and_together() -> None:
    loud = {"outcome": "lesion", "lesions": 2, "marked_ml": 5.0, "tissue_ml": 4.5, "air_ml": 0.5, "largest_ml": 3.25}
    quiet = {"outcome": "no_lesion", "lesions": 0} | dict.fromkeys(list(loud)[2:], 0.0)
    shown = {"name": "model", "healthy": {"loud": loud, "quiet": quiet, "softer": loud | {"marked_ml": 1.0}}}
    lines = tables.healthy_lines([shown, {"name": "old"}, {"name": "trivial", "healthy": {}}], markdown=False)
    cells = [line.split() for line in lines]
    assert ["loud", "lesion", "2", "5.00", "4.50", "0.50", "3.25"] in cells
    assert ["quiet", "no_lesion", "0", "0.00", "0.00", "0.00", "0.00"] in cells
    assert cells[-1] == ["all", "called", "lesion:", "2", "of", "3", "largest:", "5.00"]
    assert not tables.healthy_lines([{"name": "old"}], markdown=False)


@pytest.mark.usefixtures("bright_weights")
def test_earlier_columns_come_first_though_they_lack_the_newer_sets(folder: Path, tmp_path: Path) -> None:
    run(folder, "--json", tmp_path / "first.json")
    record = json.loads((tmp_path / "first.json").read_text(encoding="utf-8"))
    for column in record["columns"]:
        del column["healthy"]
        column["values"] = {group: column["values"][group] for group in ("brainix", "lgg", "brain_mri", "ms")}
        del column["values"]["brainix"]["outcome"]
    (tmp_path / "old.json").write_text(json.dumps(record), encoding="utf-8")
    again = run(folder, "--weights", "any", "--before", tmp_path / "old.json")
    head, *lines = again.splitlines()
    assert head.index("before: brightness 00000000") < head.index("  brightness 00000000")
    assert head.count("darkness") == 1
    outcome, precision = (next(line for line in lines if line.startswith(row)) for row in ("outcome", "voxel AP"))
    assert outcome.split()[1:3] == ["–", "lesion"]
    assert precision.split()[2] == precision.split()[3]
    assert again.count("called lesion") == 1


def column(name: str, kind: str, precision: float | None) -> dict[str, Any]:
    value = None if precision is None else {"value": precision, "low": None, "high": None}
    share = {"value": 0.5, "low": None, "high": None}
    return {"name": name, "kind": kind, "values": {"set": {"pixel AP": value, "share of slices with AP": share}}}


@pytest.mark.parametrize(("brightness", "verdict"), [(0.2, "0.500 above, 2.50 x"), (0.8, "0.500 NOT above, 0.62 x")])
def test_a_model_is_compared_with_the_best_detector_that_learned_nothing(brightness: float, verdict: str) -> None:
    rivals = [("darkness", 0.3), ("nearness to center", None), ("brightness", brightness)]
    records = [column("model", "weights", 0.5), *(column(name, "trivial", value) for name, value in rivals)]
    head, row = tables.precision_lines(
        [*records, column("untrained", "untrained", 0.1)], {"set": "A set"}, markdown=False
    )
    assert "model" in head
    assert verdict in row
    assert ("darkness 0.300" if brightness < 0.3 else "brightness 0.800") in row


@pytest.mark.usefixtures("bright_weights")
def test_a_limited_run_says_that_it_is_limited(folder: Path, tmp_path: Path) -> None:
    text = run(folder, "--limit", "4", "--json", tmp_path / "short.json")
    assert "LIMITED to 4 pictures" in text
    assert "4 slices of" in text
    assert json.loads((tmp_path / "short.json").read_text(encoding="utf-8"))["limit"] == 4
    assert "NOT COMPARABLE" in run(folder, "--before", tmp_path / "short.json")


@pytest.mark.usefixtures("bright_weights")
def test_the_rows_of_each_markdown_table_have_the_same_number_of_cells(folder: Path) -> None:
    parts: list[list[str]] = [[]]
    for line in run(folder, "--markdown").splitlines():
        if line.startswith("|"):
            parts[-1].append(line)
        elif parts[-1]:
            parts.append([])
    found = [part for part in parts if part]
    assert len(found) == 3
    for table in found:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("|- ")


def test_the_committed_figures_of_step_1_are_whole() -> None:
    path = ROOT / "benchmarks" / "results" / "yardsticks-step1.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["limit"] is None
    shipped = record["columns"][0]
    assert shipped["sha256"].startswith("42f69b651b6c")
    assert shipped["values"]["brainix"]["Dice at the threshold"]["value"] == pytest.approx(0.607, abs=2e-3)
    assert shipped["values"]["lgg"]["pixel AP"]["value"] == pytest.approx(0.395, abs=3e-3)


def test_the_committed_figures_of_step_5_cover_every_set() -> None:
    path = ROOT / "benchmarks" / "results" / "yardsticks-step5.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["limit"] is None
    shipped = record["columns"][0]
    assert shipped["sha256"].startswith("7499b51df7c7")
    assert set(shipped["values"]) == {"brainix", "lgg", "brain_mri", "ms", *STEMS}
    assert [one["outcome"] for one in shipped["healthy"].values()] == ["lesion"] * 7
    assert [column["kind"] for column in record["columns"][1:]] == ["trivial"] * 3 + ["untrained"]


def test_the_real_data_are_read_as_described(tmp_path: Path) -> None:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development data are not here")
    lgg = data.read_lgg(folder / "medical" / "brain_mri_lgg", None)
    assert len(lgg) == 240
    assert all(one.abnormal for one in lgg)
    assert len({one.subject for one in lgg}) == 52
    brain = data.read_brain_mri(folder / "medical" / "brain_mri", None)
    assert (len(brain), sum(one.abnormal for one in brain)) == (253, 155)
    titles = {group.key: group.title for group in groups.read_groups(folder, None, tmp_path)}
    assert "30 pictures of 30 subjects, 30 abnormal" in titles["breast_ultrasound"]
    assert "11 pictures of 3 subjects, 11 abnormal" in titles["liver_ct_sagittal"]
    assert "49 lesions" in titles["ms"]
    assert len(groups.read_healthy(folder, None, tmp_path)) == 7
