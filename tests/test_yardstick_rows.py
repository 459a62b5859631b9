"""Yardsticks score pictures and volumes as a run does, and take the right figures of its answers."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score

import medzsad
from tests.detectors import BrightnessDetector

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import yardstick_columns as columns
import yardstick_data as data
import yardstick_pictures as picture_rows
import yardstick_trivial as trivial
import yardstick_volumes as volume_rows

AFFINE = np.diag([-10.0, -10.0, 5.0, 1.0])  # a voxel has half a milliliter


def saved(path: Path, pixels: np.ndarray, truth: np.ndarray | None = None, **known: object) -> data.Picture:
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(path)
    return data.Picture(path, truth, **{"abnormal": truth is not None, "subject": path.stem} | known)


def textures(count: int, shape: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [gaussian_filter(rng.random(shape), 2) * (150 + 20 * n) + 2 for n in range(count)]


def varied_pictures(folder: Path) -> list[data.Picture]:
    """Gray ones of two sizes, and one in color."""
    planes = [*textures(3, (40, 56)), *textures(2, (44, 30))]
    color = np.stack([planes[0], planes[1], planes[2]], axis=-1)
    return [saved(folder / f"{n}.png", plane) for n, plane in enumerate([*planes, color])]


def test_a_picture_is_scored_as_a_run_scores_its_file_whatever_its_neighbors(tmp_path: Path) -> None:
    pictures = varied_pictures(tmp_path)
    detector = BrightnessDetector(56, threshold=float(np.median([one.gray().max() / 255 for one in pictures])))
    column = columns.model_column(detector, "weights")
    forward = [column.picture(one) for one in pictures]
    backward = [column.picture(one) for one in reversed(pictures)][::-1]
    for one, score, again in zip(pictures, forward, backward, strict=True):
        alone = medzsad.detect(one.path, detector=detector)
        assert np.array_equal(score.map, alone.score[:, :, 0].T)
        assert np.array_equal(score.mask, alone.mask[:, :, 0].T > 0)
        assert np.array_equal(score.map, again.map)
        assert (score.image, score.peak) == (alone.slices[0].image_score, alone.slices[0].max_score)
        red = np.asarray(Image.open(one.path), float)
        red = red[..., 0] if red.ndim == 3 else red
        assert np.abs(score.map - red / 255).max() < 0.1, "rows and columns must not be swapped"
    assert len({bool(score.mask.any()) for score in forward}) == 2


def test_color_is_scored_in_color_and_gray_for_trivial_detectors(tmp_path: Path) -> None:
    color = np.zeros((20, 30, 3))
    color[4:8, 5:9] = 255, 0, 0
    color[12:16, 20:24] = 0, 255, 0
    picture = saved(tmp_path / "color.png", color)
    assert picture.scan().voxels.shape == (30, 20, 1, 3)
    expected = np.asarray(Image.open(picture.path).convert("L"), float)
    assert np.abs(picture.gray() - expected).max() <= 1
    green = data.Picture(picture.path, None, False, "x", channel=1)
    assert np.array_equal(green.gray(), color[..., 1])
    assert green.scan().voxels.shape == (30, 20, 1)


def test_brightness_darkness_and_nearness_say_what_their_names_say(tmp_path: Path) -> None:
    plane = np.zeros((40, 60), np.float32)
    plane[5:35, 10:50] = 100
    plane[8:12, 14:18] = 200
    plane[25:29, 40:44] = 60
    picture = saved(tmp_path / "body.png", plane)
    bright, dark, near = (column.picture(picture) for column in trivial.trivial_columns())
    assert np.unravel_index(bright.map.argmax(), plane.shape) == pytest.approx((9.5, 15.5), abs=1)
    inner = dark.map[8:32, 13:47]
    assert np.unravel_index(inner.argmax(), inner.shape) == pytest.approx((26.5 - 8, 41.5 - 13), abs=1)
    assert not dark.map[:5].any()
    assert np.unravel_index(near.map.argmax(), plane.shape) == pytest.approx((19.5, 29.5), abs=0.6)
    assert not near.map[:, :10].any()
    assert near.peak is None
    assert (bright.mask, dark.mask, near.mask) == (None, None, None)


def test_nearness_in_a_volume_is_measured_in_millimeters(tmp_path: Path) -> None:
    voxels = np.full((20, 24, 9), 50, np.float32)
    voxels[0, 0, 0] = 0
    volume = saved_volume(tmp_path / "scan.nii.gz", voxels, voxels > 60, np.diag([1.0, 1.5, 4.0, 1.0]))
    near = trivial.trivial_columns()[2].volume(volume).map
    center = (9.5, 11.5, 4)
    assert near[10, 12, 6] == pytest.approx(near[18, 12, 4], abs=0.03), "8 mm across slices as 8 mm in the plane"
    assert np.unravel_index(near.argmax(), near.shape) == pytest.approx(center, abs=0.6)


def test_the_untrained_tower_is_that_of_the_weights_and_the_same_each_time(tmp_path: Path) -> None:
    picture = saved(tmp_path / "texture.png", textures(1, (40, 56))[0])
    first, second = (columns.untrained_column("medzsad-mini") for _ in range(2))
    trained = columns.weights_column("medzsad-mini")
    assert first is not None
    assert second is not None
    maps = [column.picture(picture).map for column in (first, second, trained)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.allclose(maps[0], maps[2], atol=1e-3)
    assert (first.threshold, first.sha256, trained.threshold) == (None, "", medzsad.load_detector().card.threshold)


def fake_column(masks: dict[str, np.ndarray], maps: dict[str, np.ndarray]) -> columns.Column:
    def picture(given: data.Picture) -> columns.PictureScore:
        scores = maps[given.subject].astype(np.float32)
        return columns.PictureScore(scores, float(scores.mean()), float(scores.max()), masks[given.subject])

    return columns.Column("fake", "weights", "0" * 64, 0.5, "", picture, lambda volume: None)  # type: ignore[arg-type]


def test_outlines_of_slices_are_judged_one_by_one(tmp_path: Path) -> None:
    truth = np.zeros((30, 36), bool)
    truth[4:10, 6:14] = True
    image = 80.0 + np.zeros(truth.shape)
    image[20:28, 20:30], image[truth] = 200, 120
    good, beside = truth.copy(), np.zeros_like(truth)
    beside[20:28, 20:30] = True  # larger than the piece that touches the tumor
    beside[4:6, 6:8] = True
    nothing = np.zeros_like(truth)
    names = ("good", "beside", "nothing", "worse")
    masks = dict(zip(names, (good, beside, nothing, nothing), strict=True))
    pictures = [saved(tmp_path / f"{name}.png", image, truth) for name in names]
    maps = dict.fromkeys(names, truth + 0.0) | {"worse": image * ~truth}
    rows = picture_rows.slice_rows(pictures, fake_column(masks, maps))
    overlap = 2 * 4 / (84 + 48)
    assert rows["mean Dice per slice"].value == pytest.approx((1 + overlap) / 4)
    assert rows["share of slices flagged"].value == 0.5
    assert rows["share of slices whose largest mark touches the tumor"].value == 0.25
    bright = average_precision_score(truth.ravel(), trivial.picture_brightness(pictures[0]).ravel())
    assert bright > average_precision_score(truth.ravel(), maps["worse"].ravel())
    assert rows["share of slices with AP above brightness's"].value == 0.75


def saved_volume(path: Path, voxels: np.ndarray, truth: np.ndarray, affine: np.ndarray = AFFINE) -> data.Volume:
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), affine), path)
    return data.Volume(path, truth)


def marked_volume(folder: Path) -> tuple[data.Volume, np.ndarray]:
    """A body of 10 rows of 12 with three lesions of 9, 9 and 0.5 ml, and a mask that finds one and marks three more."""
    truth, voxels = np.zeros((12, 14, 10), bool), np.zeros((12, 14, 10))
    voxels[:10] = 100
    truth[1:4, 1:4, 1:3] = truth[7:10, 9:12, 5:7] = truth[1, 11, 8] = True
    mask = np.zeros_like(truth)
    mask[1:4, 1:4, 1:4] = mask[6:8, 1:3, 7:9] = mask[10:12, 0:2, 0:1] = True
    return saved_volume(folder / "scan.nii.gz", voxels, truth), mask


def test_overlap_lesions_and_false_milliliters_are_counted_on_the_mask(tmp_path: Path) -> None:
    volume, mask = marked_volume(tmp_path)
    rows = volume_rows.answer_rows(volume, columns.Answer("lesion", mask, (13.5, 4.0, 2.0)))
    values = {row: getattr(value, "value", value) for row, value in rows.items()}
    assert values == {
        "outcome": "lesion",
        "lesions": 3,
        "marked ml": pytest.approx(19.5),
        "Dice at the threshold": pytest.approx(2 * 18 / (39 + 37)),
        "Dice of the largest lesion": pytest.approx(2 * 18 / (27 + 37)),
        "share of the lesion inside the mask": pytest.approx(18 / 37),
        "false ml in tissue": pytest.approx(4.5 + 4),
        "false ml in air": pytest.approx(2),
        "lesions touched": 1,
        "lesions of at least 1 ml touched": 1,
        "false components": 2,
    }
    small = np.zeros_like(mask)
    small[1, 11, 8] = True
    found = volume_rows.answer_rows(volume, columns.Answer("no_lesion", small, ()))
    assert found["lesions touched"].value == 1
    assert found["lesions of at least 1 ml touched"].value == 0
    assert found["outcome"] == "no_lesion"
    assert set(volume_rows.answer_rows(volume, None).values()) == {None}


def test_whatever_is_marked_in_a_healthy_volume_is_parted_into_tissue_and_air(tmp_path: Path) -> None:
    volume, mask = marked_volume(tmp_path)
    record = volume_rows.healthy_record(volume, columns.Answer("lesion", mask, (4.0, 13.5)))
    assert (record.outcome, record.lesions, record.largest_ml) == ("lesion", 2, 13.5)
    assert (record.marked_ml, record.tissue_ml, record.air_ml) == pytest.approx((19.5, 17.5, 2.0))
    quiet = volume_rows.healthy_record(volume, columns.Answer("no_lesion", np.zeros_like(mask), ()))
    assert (quiet.outcome, quiet.lesions, quiet.marked_ml, quiet.largest_ml) == ("no_lesion", 0, 0, 0)


def test_the_answer_for_a_volume_is_that_of_a_run_with_the_defaults(tmp_path: Path) -> None:
    voxels = np.full((24, 30, 6), 40.0) + np.random.default_rng(0).random((24, 30, 6))
    voxels[4:9, 5:12, 2:4] = 200
    voxels[15:18, 20:22, 4] = 200
    affine = np.diag([-1.0, 1.2, 4.0, 1.0])
    volume = saved_volume(tmp_path / "scan.nii.gz", voxels, voxels > 100, affine)
    detector = BrightnessDetector(30, threshold=0.7)
    score = columns.model_column(detector, "weights").volume(volume)
    result = medzsad.detect(volume.path, detector=detector)
    assert score.answer is not None
    assert (score.answer.outcome, len(score.answer.lesions_ml)) == (result.outcome.value, len(result.lesions))
    assert score.answer.lesions_ml == pytest.approx([lesion.volume_mm3 / 1000 for lesion in result.lesions])
    assert sum(score.answer.lesions_ml) == pytest.approx(score.answer.mask.sum() * volume.voxel_ml)
    assert np.array_equal(score.answer.mask, result.mask > 0)
    assert columns.model_column(detector, "untrained").volume(volume).answer is None
