"""Generated heads are what their truth says they are."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

import medzsad
import medzsad.phantoms
from medzsad.phantoms import PhantomVolume, make_phantom, make_phantom_sequences
from medzsad.phantoms.__main__ import main
from medzsad.phantoms.contrasts import FAMILIES, draw_contrast
from medzsad.phantoms.grids import draw_grid
from medzsad.phantoms.lesion_kinds import BUILDERS
from medzsad.phantoms.lesions import draw_plans
from medzsad.phantoms.volume import measured_lesions
from tests.detectors import BrightnessDetector

SOURCES = sorted(Path(medzsad.phantoms.__file__).parent.glob("*.py"))
SEEDS = (1, 3)


@pytest.fixture(scope="module")
def healthy() -> list[PhantomVolume]:
    return [make_phantom(seed, lesion=False) for seed in SEEDS]


@pytest.fixture(scope="module")
def ill() -> list[PhantomVolume]:
    return [make_phantom(seed, lesion=True) for seed in SEEDS]


def test_nothing_is_taken_from_the_generator_of_the_trainings() -> None:
    assert len(SOURCES) >= 10
    assert [path.name for path in SOURCES if "medzsad.generator" in path.read_text(encoding="utf-8")] == []
    assert [path.name for path in SOURCES if "import torch" in path.read_text(encoding="utf-8")] == []


def test_a_seed_gives_the_same_bytes_on_each_call_and_takes_no_absurd_memory(ill: list[PhantomVolume]) -> None:
    tracemalloc.start()
    again = make_phantom(SEEDS[0], lesion=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert again.voxels.tobytes() == ill[0].voxels.tobytes()
    assert again.mask.tobytes() == ill[0].mask.tobytes()
    assert again.affine_ras.tobytes() == ill[0].affine_ras.tobytes()
    assert again.lesions == ill[0].lesions
    assert peak < 1.0e9


def test_healthy_heads_have_empty_masks_and_no_lesions(healthy: list[PhantomVolume]) -> None:
    assert all(not volume.mask.any() and volume.lesions == () for volume in healthy)


def test_every_field_has_its_promised_type_and_finite_values(
    healthy: list[PhantomVolume], ill: list[PhantomVolume]
) -> None:
    for volume in (*healthy, *ill):
        assert volume.voxels.dtype == np.float32
        assert volume.affine_ras.dtype == np.float64
        assert volume.mask.dtype == bool
        assert volume.mask.shape == volume.voxels.shape
        assert np.isfinite(volume.voxels).all()
        assert np.ptp(volume.voxels) > 0
        assert volume.modality == ("CT" if volume.family == "ct" else "MR")
        assert volume.family in volume.name


def test_lesions_add_up_to_the_mask(ill: list[PhantomVolume]) -> None:
    for volume in ill:
        voxel_mm3 = abs(np.linalg.det(volume.affine_ras[:3, :3]))
        assert volume.lesions
        assert sum(item.volume_mm3 for item in volume.lesions) == pytest.approx(volume.mask.sum() * voxel_mm3)
        assert all(item.volume_mm3 >= 0.99 * voxel_mm3 for item in volume.lesions)


def test_masks_lie_inside_the_head(ill: list[PhantomVolume]) -> None:
    for volume in ill:
        smooth = ndimage.gaussian_filter(volume.voxels, 1.0)
        air = np.percentile(volume.voxels, 99) * 0.03 if volume.modality == "MR" else -500
        assert (smooth[volume.mask] > air).mean() > 0.9, volume.name


def test_volume_contrast_and_centroid_are_measured_on_the_grid() -> None:
    voxels = np.where(np.indices((20, 20, 20))[0] % 2 == 0, 90.0, 110.0).astype(np.float32)
    labels = np.zeros((20, 20, 20), np.int32)
    labels[8:12, 6:8, 10:13], labels[2, 2, 2] = 1, 2
    voxels[labels == 1], voxels[labels == 2] = 160.0, 20.0
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    measured = measured_lesions(voxels, labels, np.ones(labels.shape, bool), ["infarct", "plaque"], affine)
    assert [item.kind for item in measured.values()] == ["infarct", "plaque"]
    assert measured[1].volume_mm3 == pytest.approx(24 * 12)
    assert measured[1].centroid_ras_mm == pytest.approx((10 - 19, 20 + 13, 30 + 33))
    # Half of the distance from the 16th to the 84th percentile is 10; the median around is 90, 100 or 110.
    assert 5.0 <= measured[1].contrast <= 7.0
    assert 7.0 <= measured[2].contrast <= 9.0


def test_a_lesion_outside_the_grid_has_no_record() -> None:
    voxels, labels = np.ones((4, 4, 4), np.float32), np.zeros((4, 4, 4), np.int32)
    assert measured_lesions(voxels, labels, np.ones(labels.shape, bool), ["tumor"], np.eye(4)) == {}


def test_families_planes_and_kinds_vary_and_every_kind_can_be_built() -> None:
    volumes = [draw_grid(np.random.default_rng(seed), "flair") for seed in range(200)]
    assert {grid.plane for grid in volumes} == {"axial", "coronal", "sagittal"}
    assert {grid.slice_axis for grid in volumes} == {0, 1, 2}
    thick = [float(grid.spacing_mm[grid.slice_axis]) for grid in volumes]
    assert min(thick) < 2.1
    assert max(thick) > 5.5
    drawn = {plan.kind for seed in range(300) for plan in draw_plans(np.random.default_rng(seed), "ct")}
    drawn |= {plan.kind for seed in range(300) for plan in draw_plans(np.random.default_rng(seed), "t1c")}
    assert drawn == set(BUILDERS)


def test_affines_turn_lengths_into_millimeters_and_axes_stay_perpendicular() -> None:
    for seed in range(50):
        affine = draw_grid(np.random.default_rng(seed), "t2").affine[:3, :3]
        spacing = np.linalg.norm(affine, axis=0)
        assert np.allclose((affine / spacing).T @ (affine / spacing), np.eye(3), atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_water_fat_and_bone_look_as_the_family_says(family: str) -> None:
    values = draw_contrast(np.random.default_rng(3), family, 0.5).values
    if family in ("t1", "t1c"):
        assert values["csf"] < values["gray"] < values["white"]
    elif family == "ct":
        assert -130 < values["fat"] < values["csf"] < values["white"] < values["gray"] < 700 < values["bone"]
    elif family == "t2":
        assert values["white"] < values["gray"] < values["csf"]
    else:
        assert values["white"] < values["gray"]
    assert values["air"] == min(values.values())


def test_detect_takes_a_phantom(ill: list[PhantomVolume]) -> None:
    volume = min(ill, key=lambda v: v.voxels.size)
    result = medzsad.detect(volume.scan(), detector=BrightnessDetector(size=32))
    assert result.mask.shape == volume.mask.shape


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        make_phantom(-1, lesion=False)


def test_the_command_writes_volumes_masks_and_a_sheet(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path / "out"), "--count", "1", "--seed", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 3
    assert names[0].endswith("_2.nii.gz")
    assert names[1].endswith("_2_mask.nii.gz")
    assert names[2] == "sheet.png"


def test_sequences_show_one_head_in_one_frame_of_reference() -> None:
    flair, t1 = make_phantom_sequences(3, ("flair", "t1"))
    assert (flair.family, t1.family) == ("flair", "t1")
    assert flair.mask.any()
    points = flair.affine_ras[:3, :3] @ np.argwhere(flair.mask).T + flair.affine_ras[:3, 3:]
    index = np.linalg.inv(t1.affine_ras)[:3] @ np.vstack([points, np.ones(points.shape[1])])
    inside = ((index > -0.5) & (index < np.array(t1.mask.shape)[:, None] - 0.5)).all(axis=0)
    rounded = np.rint(index[:, inside]).astype(int)
    grown = ndimage.binary_dilation(t1.mask, iterations=1)
    assert t1.mask.any()
    assert grown[tuple(rounded)].mean() > 0.6
    again = make_phantom_sequences(3, ("flair", "t1"))[1]
    assert np.array_equal(again.voxels, t1.voxels)
