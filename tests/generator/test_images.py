"""Generated images: reproducible, exact masks, healthy ones among them."""

import pytest
import torch

from medzsad.generator.acquisition import acquire
from medzsad.generator.color import colored
from medzsad.generator.fields import Dice, pixel_grid, sample_at, smooth_noise
from medzsad.generator.images import FAMILIES, generate
from medzsad.generator.lesions import KINDS, add_lesions
from recipes.medzsad_mini.captions import caption, vocabulary


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_seeds_give_equal_images_and_others_do_not() -> None:
    first, again, other = (generate(4, 48, _source(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, other.images)


def test_images_are_finite_and_windowed_and_agree_with_their_labels() -> None:
    made = generate(64, 48, _source(3))
    assert made.images.shape == (64, 3, 48, 48)
    assert made.masks.shape == (64, 48, 48)
    assert bool(made.images.isfinite().all())
    assert 0 <= float(made.images.min()) < 0.01
    assert 0.99 < float(made.images.max()) <= 1
    assert set(made.masks.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(made.masks.sum(dim=(1, 2)) > 0, made.labels == 1)
    assert torch.equal(made.kinds >= 0, made.labels == 1)
    assert 0.25 < made.labels.float().mean() < 0.75


def test_no_lesions_are_made_where_none_are_wanted() -> None:
    made = generate(8, 48, _source(4), lesion_share=0.0)
    assert not made.masks.any()
    assert not made.labels.any()


def test_most_images_are_gray_and_some_are_not() -> None:
    images = generate(120, 32, _source(11)).images
    gray = (images.amax(dim=1) - images.amin(dim=1)).amax(dim=(1, 2)) < 1e-6
    assert 0.6 < float(gray.float().mean()) < 0.9


def test_color_leaves_the_order_of_brightness() -> None:
    gray = torch.rand(60, 16, 16, generator=_source(12))
    painted = colored(Dice(_source(13)), gray, torch.zeros_like(gray)).mean(dim=1)
    kept = [
        float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]) for a, b in zip(gray, painted, strict=True)
    ]
    assert min(kept) > 0.8


def test_letters_never_lie_on_a_lesion() -> None:
    masks = torch.zeros(200, 48, 48)
    masks[:, :, 24:] = 1
    images, _ = acquire(Dice(_source(14)), torch.full((200, 48, 48), 0.2), masks)
    plain, _ = acquire(Dice(_source(14)), torch.full((200, 48, 48), 0.2), torch.ones_like(masks))
    lettered = (images - plain).abs() > 0.2
    assert lettered.any()
    assert not lettered[:, :, 24:].any()


def test_many_images_hold_every_family_and_kind() -> None:
    made = generate(400, 32, _source(5), lesion_share=1.0)
    assert set(made.families.tolist()) == set(range(len(FAMILIES)))
    assert set(range(len(KINDS))) <= set(made.kinds.tolist())


def test_a_lesion_changes_the_image_inside_its_mask_more_than_elsewhere() -> None:
    flat = torch.full((40, 64, 64), 0.4)
    x, y = (axis.expand(40, -1, -1) for axis in pixel_grid(64))
    made = add_lesions(Dice(_source(6)), flat, torch.ones_like(flat), x, y, 1.0)
    present = made.kinds >= 0
    assert int(present.sum()) > 25
    change, mask = (made.images - flat).abs()[present], made.masks[present]
    inside = (change * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
    outside = (change * (1 - mask)).sum(dim=(1, 2)) / (1 - mask).sum(dim=(1, 2))
    assert bool((inside > 4 * outside).all())


def test_lesions_stay_inside_the_tissue() -> None:
    x, y = (axis.expand(20, -1, -1) for axis in pixel_grid(64))
    left = (x < 0).float()
    made = add_lesions(Dice(_source(7)), torch.full((20, 64, 64), 0.4), left, x, y, 1.0)
    assert float(made.masks.sum()) > 0
    assert float((made.masks * (1 - left)).sum()) == 0


@pytest.mark.parametrize("cells", [3, 9, 20])
def test_smooth_noise_varies_over_its_cells(cells: int) -> None:
    field = smooth_noise(Dice(_source(8)), 16, 1, cells, 60)
    assert field.shape == (16, 1, 60, 60)
    assert 0.3 < float(field.std()) < 1.3
    assert float(field.diff(dim=-1).abs().mean()) < 3 * cells / 60


def test_a_sampled_pixel_grid_returns_the_field() -> None:
    field = torch.rand(2, 3, 12, 12, generator=_source(9))
    x, y = (axis.expand(2, -1, -1) for axis in pixel_grid(12))
    assert torch.allclose(sample_at(field, x, y), field, atol=1e-5)


def test_captions_name_the_lesion_and_use_known_words_only() -> None:
    words = vocabulary()
    sound = caption("liver", FAMILIES.index("body"), -1, _source(0))
    sick = caption("liver", FAMILIES.index("layers"), KINDS.index("ring"), _source(0))
    assert "without lesion" in sound
    assert "ring lesion" in sick
    rows, ends = words.compact([sound, sick])
    texts = [
        words.tokenizer.decode(words.ids[row[1:end]].tolist()).strip() for row, end in zip(rows, ends, strict=True)
    ]
    assert texts == [sound, sick]


def test_words_beyond_the_vocabulary_are_not_taken_for_others() -> None:
    with pytest.raises(ValueError, match="zebra"):
        vocabulary().compact(["a flawless zebra"])
