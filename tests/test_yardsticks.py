"""The table of yardsticks: its measures are right, its detectors are scored as the product scores, its command runs."""

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, roc_auc_score

import medzsad
from medzsad.metrics import resampled
from medzsad.metrics.metric import resample_weights
from tests.detectors import BrightnessDetector

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import yardstick_columns as columns  # noqa: E402
import yardstick_data as data  # noqa: E402
import yardstick_measures as measures  # noqa: E402
import yardstick_rows as rows  # noqa: E402
import yardsticks  # noqa: E402


def scores_of_units(seed: int = 0, units: int = 7, pixels: int = 9000) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Units of unequal size whose rare positives score higher, most scores crowded near 0, many exactly equal."""
    rng = np.random.default_rng(seed)
    truths = [rng.random(pixels + 100 * n) < 0.01 * (n + 1) for n in range(units)]
    scores = [(rng.beta(0.2, 6, truth.size) + 0.15 * truth * rng.random(truth.size)) for truth in truths]
    return [np.where(score < 0.001, 0, score).astype(np.float32) for score in scores], truths


def exact(scores: list[np.ndarray], truths: list[np.ndarray]) -> tuple[float, float]:
    flat, truth = np.concatenate(scores), np.concatenate(truths)
    return roc_auc_score(truth, flat), average_precision_score(truth, flat)


@pytest.mark.parametrize("scale", [1.0, -250.0], ids=["in 0..1", "any range"])
def test_binned_measures_agree_with_scikit_learn(scale: float) -> None:
    scores, truths = scores_of_units()
    scores = [scale * part + 3 for part in scores]
    assert sum(map(len, scores)) > 10 * 4096
    auroc, precision = measures.ranking_measures(measures.count_scores(scores, truths), None)
    expected = exact(scores, truths)
    assert auroc.value == pytest.approx(expected[0], abs=5e-4)
    assert precision.value == pytest.approx(expected[1], abs=1e-3)


def test_few_scores_are_ranked_exactly() -> None:
    rng = np.random.default_rng(1)
    scores, truth = np.round(rng.random(253), 2).astype(np.float32), rng.random(253) < 0.6
    counted = measures.count_scores([s[None] for s in scores], [t[None] for t in truth])
    auroc, precision = measures.ranking_measures(counted, None)
    assert auroc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert precision.value == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_a_resample_is_what_drawing_the_units_themselves_gives() -> None:
    scores, truths = scores_of_units(2)
    counted = measures.count_scores(scores, truths)
    times = np.array([2, 0, 1, 0, 3, 1, 0])
    drawn = [n for n, count in enumerate(times) for _ in range(count)]
    expected = exact([scores[n] for n in drawn], [truths[n] for n in drawn])
    positives, negatives = times @ counted.positives, times @ counted.negatives
    assert resampled.auroc(positives, negatives) == pytest.approx(expected[0], abs=1e-3)
    assert resampled.average_precision(positives, negatives) == pytest.approx(expected[1], abs=2e-3)


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    flags = np.arange(200) % 4 == 0
    weights = resample_weights([str(n) for n in range(200)], seed=0)
    found = measures.share_measure(flags, np.ones(200, bool), weights)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 200)
    assert found.value == 0.25
    assert (found.low, found.high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.012)


def test_ranking_without_positives_is_not_a_number() -> None:
    counted = measures.count_scores([np.arange(5.0)], [np.zeros(5, bool)])
    auroc, precision = measures.ranking_measures(counted, None)
    assert np.isnan([auroc.value, precision.value]).all()


def pictures(count: int = 5, shape: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [gaussian_filter(rng.random(shape), 2).astype(np.float32) * (150 + 20 * n) + 2 for n in range(count)]


def test_stacked_pictures_score_as_each_does_alone() -> None:
    planes = [*pictures(3), *pictures(2, (44, 30))]
    middle = float(np.median([plane.max() / 255 for plane in planes]))
    column = columns._model_column(BrightnessDetector(56, threshold=middle), "weights")
    together = column.pictures(planes)
    for plane, score in zip(planes, together, strict=True):
        alone = column.pictures([plane])[0]
        assert score.map.shape == plane.shape
        assert np.array_equal(score.map, alone.map)
        assert (score.image, score.peak, score.flagged) == (alone.image, alone.peak, alone.flagged)
        assert np.abs(score.map - plane / 255).max() < 0.1, "rows and columns must not be swapped"
    assert len({score.flagged for score in together}) == 2


def test_brightness_darkness_and_nearness_say_what_their_names_say() -> None:
    plane = np.zeros((40, 60), np.float32)
    plane[5:35, 10:50] = 100
    plane[8:12, 14:18] = 200
    plane[25:29, 40:44] = 60
    bright, dark, near = (column.pictures([plane])[0] for column in columns.trivial_columns())
    assert np.unravel_index(bright.map.argmax(), plane.shape) == pytest.approx((9.5, 15.5), abs=1)
    inner = dark.map[8:32, 13:47]
    assert np.unravel_index(inner.argmax(), inner.shape) == pytest.approx((26.5 - 8, 41.5 - 13), abs=1)
    assert not dark.map[:5].any()
    assert np.unravel_index(near.map.argmax(), plane.shape) == pytest.approx((19.5, 29.5), abs=0.6)
    assert not near.map[:, :10].any()
    assert near.peak is None
    assert (bright.flagged, dark.flagged, near.flagged) == (None, None, None)


def test_nearness_in_a_volume_is_measured_in_millimeters(tmp_path: Path) -> None:
    voxels = np.full((20, 24, 9), 50, np.float32)
    voxels[0, 0, 0] = 0
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.5, 4.0, 1.0])), path)
    near = columns.trivial_columns()[2].volume(data.Volume(path, voxels > 60)).map
    center = (9.5, 11.5, 4)
    assert near[10, 12, 6] == pytest.approx(near[18, 12, 4], abs=0.03), "8 mm across slices as 8 mm in the plane"
    assert np.unravel_index(near.argmax(), near.shape) == pytest.approx(center, abs=0.6)


def test_the_untrained_tower_is_that_of_the_weights_and_the_same_each_time() -> None:
    first, second = (columns.untrained_column("medzsad-mini") for _ in range(2))
    trained = columns.weights_column("medzsad-mini")
    assert first is not None
    assert second is not None
    maps = [column.pictures(pictures(1))[0].map for column in (first, second, trained)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.allclose(maps[0], maps[2], atol=1e-3)
    assert (first.threshold, first.sha256, trained.threshold) == (None, "", medzsad.load_detector().card.threshold)


def test_overlap_and_lesions_are_counted_on_the_mask() -> None:
    truth = np.zeros((12, 14, 10), bool)
    truth[1:4, 1:4, 1:3] = truth[8:10, 9:12, 5:8] = truth[1:3, 10:13, 8:10] = True
    mask = np.zeros_like(truth)
    mask[1:4, 1:4, 1:4] = mask[6:8, 1:3, 7:9] = mask[10:12, 0:2, 0:1] = True
    score = columns.VolumeScore(mask.astype(np.float32), mask)
    volume = data.Volume(Path("scan.nii.gz"), truth)
    found = rows.ms_rows(volume, score)
    assert (found["lesions touched"].value, found["false components"].value) == (1, 2)
    overlap = 2 * 18 / (mask.sum() + truth.sum())
    assert found["Dice at the threshold"].value == pytest.approx(overlap)
    brainix = rows.brainix_rows(volume, score)
    assert brainix["Dice of the largest lesion"].value == pytest.approx(2 * 18 / (27 + truth.sum()))


def make_data(folder: Path) -> Path:
    """A folder laid out as the development data, with bright lesions on dim bodies."""
    rng = np.random.default_rng(5)

    def plane(lesion: bool) -> tuple[np.ndarray, np.ndarray]:
        image, mask = np.zeros((48, 60)), np.zeros((48, 60), bool)
        image[6:42, 8:52] = 90
        if lesion:
            mask[10:17, 12:22] = True
        noise = rng.normal(0, 4, image.shape)
        return np.clip(image + 140 * mask + noise, 0, 255).astype(np.uint8), mask

    lgg = folder / "medical" / "brain_mri_lgg"
    brain = folder / "medical" / "brain_mri"
    for path in (lgg / "images", lgg / "masks", brain / "no", brain / "yes"):
        path.mkdir(parents=True)
    for number in range(6):
        image, mask = plane(lesion=True)
        name = f"TCGA_XX_{number // 2:04d}_20000101_{number}.png"
        Image.fromarray(np.stack([image // 2, image, image // 3], axis=-1)).save(lgg / "images" / name)
        Image.fromarray(mask.astype(np.uint8) * 255).save(lgg / "masks" / name)
        Image.fromarray(image).save(brain / "yes" / f"Y{number}.png")
        Image.fromarray(plane(lesion=False)[0]).save(brain / "no" / f"N{number}.png")
    for name, image_name, truth_name in (("brainix", "FLAIR", "ROI"), ("ms_patient07", "FLAIR", "lesions")):
        slices = [plane(lesion=number in (2, 3)) for number in range(7)]
        target = folder / "volumes" / name
        target.mkdir(parents=True)
        affine = np.diag([-0.8, -1.1, 4.0, 1.0])
        for file, part, kind in ((image_name, 0, np.int16), (truth_name, 1, np.uint8)):
            voxels = np.stack([one[part].T for one in slices], axis=2).astype(kind)
            nib.save(nib.Nifti1Image(voxels, affine), target / f"{file}.nii.gz")
    return folder


@pytest.fixture
def bright_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the loading of weights: a detector of brightness, so that the figures are known."""
    monkeypatch.setattr(
        yardsticks,
        "weights_column",
        lambda name: columns._model_column(BrightnessDetector(60, threshold=0.7), "weights"),
    )
    monkeypatch.setattr(yardsticks, "untrained_column", lambda name: None)


def run(*arguments: str) -> str:
    outcome = CliRunner().invoke(yardsticks.main, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.mark.usefixtures("bright_weights")
def test_one_command_prints_the_table_before_and_after(tmp_path: Path) -> None:
    folder = make_data(tmp_path / "data")
    text = run(folder, "--weights", "any", "--json", tmp_path / "results" / "first.json")
    record = json.loads((tmp_path / "results" / "first.json").read_text(encoding="utf-8"))
    assert record["limit"] is None
    values: dict[str, Any] = record["columns"][0]["values"]
    assert values["brainix"]["Dice at the threshold"]["value"] > 0.9
    assert values["lgg"]["pixel AP"]["value"] > 0.95
    assert values["lgg"]["pixel AP"]["low"] <= values["lgg"]["pixel AP"]["value"] <= values["lgg"]["pixel AP"]["high"]
    assert values["brain_mri"]["image AUROC, largest pixel"]["value"] == 1.0
    assert values["brain_mri"]["share of normal images flagged"]["value"] == 0.0
    assert values["brain_mri"]["share of tumor images flagged"]["value"] == 1.0
    assert values["ms"]["lesions touched"]["value"] == 1
    assert values["ms"]["false components"]["value"] == 0
    assert values["ms"]["voxel AP"]["low"] is None
    assert "6 slices of 3 patients" in text
    assert "It flags 0.0% of the normal BrainMRI images." in text
    assert "LIMITED" not in text
    again = run(folder, "--weights", "any", "--before", tmp_path / "results" / "first.json")
    head = again.splitlines()[0]
    assert head.index("before: brightness 00000000") < head.index("  brightness 00000000")
    assert head.count("darkness") == 1


@pytest.mark.usefixtures("bright_weights")
def test_a_limited_run_says_that_it_is_limited(tmp_path: Path) -> None:
    folder = make_data(tmp_path / "data")
    text = run(folder, "--limit", "4", "--json", tmp_path / "short.json")
    assert "LIMITED to 4 pictures" in text
    assert "4 slices of" in text
    assert json.loads((tmp_path / "short.json").read_text(encoding="utf-8"))["limit"] == 4
    assert "NOT COMPARABLE" in run(folder, "--before", tmp_path / "short.json")


@pytest.mark.usefixtures("bright_weights")
def test_markdown_rows_all_have_the_same_number_of_cells(tmp_path: Path) -> None:
    lines = run(make_data(tmp_path / "data"), "--markdown").splitlines()
    table = [line for line in lines if line.startswith("|")]
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


def test_the_real_data_are_read_as_described() -> None:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development data are not here")
    lgg = data.read_lgg(folder / "medical" / "brain_mri_lgg", None)
    assert len(lgg.pixels) == 240
    assert lgg.labels.all()
    assert len(set(lgg.groups)) == 52
    brain = data.read_brain_mri(folder / "medical" / "brain_mri", None)
    assert (int((~brain.labels).sum()), int(brain.labels.sum())) == (98, 155)
