"""Generated heads in three dimensions: anatomy where it belongs, lesions only in it, the same for the same seed."""

import pytest
import torch

from medzsad.generator.anatomy import BRAIN, CENTER_MM, LABEL, LABELS, SHAPE, VOXEL_MM, make_anatomy
from medzsad.generator.contrasts import CONTRASTS, draw_signals
from medzsad.generator.fields import Dice
from medzsad.generator.head_lesions import HEAD_KINDS, IS_BRAIN, caption_kind, draw_head_lesions, lesion_field
from medzsad.generator.head_lesions import sample_volume as sampled
from medzsad.generator.heads import draw_heads
from medzsad.generator.lesions import KINDS


def _dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def _points(*places_mm: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(places_mm)[None, None]


def _label_at(place_mm: tuple[float, float, float], seed: int = 0) -> str:
    index = [round((p - c) / VOXEL_MM + (n - 1) / 2) for p, c, n in zip(place_mm, CENTER_MM, SHAPE, strict=True)]
    return LABELS[int(make_anatomy(seed).labels[tuple(index)])]


def test_equal_seeds_make_equal_heads_and_others_do_not() -> None:
    first = make_anatomy(0).labels.clone()
    make_anatomy.cache_clear()
    assert torch.equal(first, make_anatomy(0).labels)
    assert not torch.equal(first, make_anatomy(1).labels)


def test_every_tissue_is_somewhere_in_a_head() -> None:
    found = set(make_anatomy(0).labels.unique().tolist()) | set(make_anatomy(1).labels.unique().tolist())
    assert {LABELS[n] for n in found} == set(LABELS)


def test_tissues_lie_where_anatomy_has_them() -> None:
    assert _label_at((0, 6, 110 - 22)) in {"air", "skin", "fat", "bone", "muscle"}
    assert _label_at((45, -20, 25)) in {"white", "gray", "fluid", "cap"}
    eyes = (make_anatomy(0).labels == LABEL["vitreous"]).nonzero().float().mean(dim=0)
    brain = torch.isin(make_anatomy(0).labels.int(), torch.tensor([LABEL[n] for n in BRAIN]).int())
    middle = brain.nonzero().float().mean(dim=0)
    assert abs(float(eyes[0] - middle[0])) < 6, "eyes come in pairs"
    assert float(eyes[1] - middle[1]) * VOXEL_MM > 45, "in front of the brain"
    assert float(eyes[2] - middle[2]) * VOXEL_MM < -10, "below its middle"


def test_the_brain_is_of_human_size_and_almost_symmetric() -> None:
    anatomy = make_anatomy(2)
    brain = IS_BRAIN[anatomy.labels.int()]
    assert 800 < float(brain.sum()) * VOXEL_MM**3 / 1000 < 2000
    overlap = 2 * (brain & brain.flip(0)).sum() / (2 * brain.sum())
    assert 0.8 < float(overlap) < 0.995
    # The optic nerves and the cord are of the brain's tissue, too.
    assert float((anatomy.depth_mm[brain] > 0).float().mean()) > 0.97


def test_sampling_returns_what_the_voxels_hold_and_air_beyond_them() -> None:
    anatomy = make_anatomy(0)
    tables = torch.arange(len(LABELS), dtype=torch.float32)[None] + 0.5
    index = torch.tensor([[60, 70, 80], [10, 100, 120]])
    places = (index - (torch.tensor(SHAPE) - 1) / 2) * VOXEL_MM + torch.tensor(CENTER_MM)
    found = sampled(anatomy, tables, torch.cat((places, torch.tensor([[500.0, 0, 0]])))[None])[0, 0]
    expected = [float(anatomy.labels[tuple(i.tolist())]) + 0.5 for i in index]
    assert found.tolist() == pytest.approx([*expected, 0.5], abs=1e-3)


@pytest.mark.parametrize("contrast", range(len(CONTRASTS)), ids=CONTRASTS)
def test_signals_are_finite_and_air_is_dark(contrast: int) -> None:
    for seed in range(20):
        signals = draw_signals(_dice(seed), contrast)
        assert bool(signals.isfinite().all())
        assert float(signals.min()) >= 0
        assert float(signals[LABEL["air"]]) <= 0.02


def test_fluid_is_dark_on_flair_and_bright_on_t2_in_most_heads() -> None:
    differences = {
        name: [
            float((s := draw_signals(_dice(seed), CONTRASTS.index(name)))[LABEL["fluid"]] - s[LABEL["white"]])
            for seed in range(40)
        ]
        for name in ("flair", "t2")
    }
    assert sum(d < 0 for d in differences["flair"]) > 30
    assert sum(d > 0 for d in differences["t2"]) > 30


def test_lesions_begin_in_the_brain_or_on_its_wall() -> None:
    anatomy, kinds = make_anatomy(0), set()
    for seed in range(60):
        lesions = draw_head_lesions(_dice(seed), anatomy, 0.5)
        depth = sampled(anatomy, torch.zeros(1, len(LABELS)), lesions.centers_mm[None])[1]
        assert float(depth.min()) > -4 * VOXEL_MM
        kinds.add(lesions.kind)
        assert 0 <= caption_kind(lesions.kind) < len(KINDS)
    assert kinds == set(HEAD_KINDS)


def test_a_lesion_is_full_at_its_center_and_gone_far_away() -> None:
    anatomy = make_anatomy(0)
    lesions = next(
        found for seed in range(99) if (found := draw_head_lesions(_dice(seed), anatomy, 1.0)).kind == "solid"
    )
    center = tuple(lesions.centers_mm[0].tolist())
    far = tuple((lesions.centers_mm[0] + 150).tolist())
    points = _points(center, far)
    alpha, radius, _ = lesion_field(lesions, points, torch.full((1, 1, 2), 20.0), torch.full((1, 1, 2), 20.0))
    assert float(alpha[0, 0, 0]) > 0.9
    assert float(alpha[0, 0, 1]) < 0.01
    assert float(radius[0, 0, 0]) < 1 < float(radius[0, 0, 1])


def test_slices_without_lesions_have_empty_masks_and_no_kind() -> None:
    made = draw_heads(_dice(4), 6, 48, 0.0, anatomies=1)
    assert not made.masks.any()
    assert made.kinds.tolist() == [-1] * 6


def test_slices_with_lesions_mark_visible_ones_inside_the_picture() -> None:
    made = draw_heads(_dice(5), 40, 64, 1.0, anatomies=1)
    marked = made.masks.sum(dim=(1, 2)) > 0
    assert 15 < int(marked.sum()) < 40
    assert torch.equal(marked, made.kinds >= 0)
    assert bool(made.images.isfinite().all())
    background = made.images < 1e-6
    assert float((made.masks * background).sum()) < 0.05 * float(made.masks.sum())


def test_equal_dice_draw_equal_slices() -> None:
    first, again = (draw_heads(_dice(6), 3, 48, 0.7, anatomies=2) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
