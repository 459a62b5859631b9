"""Augmentation keeps image and mask together, and does what its limits say."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]

from medzsad.training import augment as module
from medzsad.training.augment import augment, mosaic
from medzsad.training.randomness import generator_for

SIDE = 61


def _marked() -> tuple[Tensor, Tensor]:
    """A gray picture with a white, off-center L, and the mask of it."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    mask[12:40, 18:26] = 1
    mask[32:40, 18:45] = 1
    return (60 + 190 * mask).expand(3, -1, -1).contiguous(), mask


def _photo() -> Tensor:
    rows = torch.linspace(20, 220, SIDE)
    return torch.stack((rows[:, None].expand(-1, SIDE), rows.expand(SIDE, -1), 0.5 * (rows + rows[:, None]))).byte()


def _agreement(image: Tensor, mask: Tensor) -> float:
    """Dice of what is bright in the picture with the mask."""
    bright = image.float().mean(dim=0)
    bright = bright > 0.5 * (bright.min() + bright.max())
    return float(2 * (bright & (mask > 0)).sum() / (bright.sum() + mask.sum()))


def _chosen(monkeypatch: pytest.MonkeyPatch, *happens: bool) -> None:
    """Fixes which of the five steps happen."""
    answers = iter(happens)
    monkeypatch.setattr(module, "_chance", lambda _: next(answers))


def test_image_and_mask_are_moved_together() -> None:
    for seed in range(60):
        image, mask = augment(*_marked(), generator_for(seed))
        assert mask is not None
        assert _agreement(image, mask) > 0.85, seed


def test_types_sizes_and_values_are_kept() -> None:
    image, mask = _marked()
    before = image.clone(), mask.clone()
    for seed in range(60):
        changed, moved = augment(image, mask, generator_for(seed))
        assert moved is not None
        assert (changed.dtype, moved.dtype) == (torch.uint8, torch.uint8)
        assert (changed.shape, moved.shape) == (image.shape, mask.shape)
        assert set(moved.flatten().tolist()) == {0, 1}
        assert changed.is_contiguous()
        assert moved.is_contiguous()
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_an_image_without_mask_is_changed_as_one_with_a_mask() -> None:
    image, mask = _marked()
    for seed in range(20):
        alone, none = augment(image, None, generator_for(seed))
        assert none is None
        assert torch.equal(alone, augment(image, mask, generator_for(seed))[0])


def test_the_generator_decides_everything() -> None:
    photo, mask = _photo(), _marked()[1]
    torch.manual_seed(0)
    first = [augment(photo, mask, generator_for(1, seed))[0] for seed in range(20)]
    torch.manual_seed(1)
    again = [augment(photo, mask, generator_for(1, seed))[0] for seed in range(20)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({image.numpy().tobytes() for image in first}) > 15


def test_each_step_happens_in_half_of_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = {}

    def counted(name: str) -> Callable[..., object]:
        step = getattr(module, name)

        def call(*args: object) -> object:
            counts[name] = counts.get(name, 0) + 1
            return step(*args)

        return call

    for name in ("_rotate", "_brightness_contrast", "_noise", "_mean_blur", "_jitter", "_gaussian_blur"):
        monkeypatch.setattr(module, name, counted(name))
    tiny = torch.zeros(3, 16, 16, dtype=torch.uint8)
    for seed in range(600):
        augment(tiny, None, generator_for(seed))
    for name in ("_rotate", "_brightness_contrast", "_noise"):
        assert 245 < counts[name] < 355, name  # 300 expected, 4.5 deviations
    for name in ("_mean_blur", "_jitter", "_gaussian_blur"):
        assert 59 < counts[name] < 141, name  # 100 expected


def test_turns_stay_within_thirty_degrees_and_leave_no_empty_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.full((3, SIDE, SIDE), 200, dtype=torch.uint8)
    image[:, :, : SIDE // 2] = 120
    angles: list[float] = []
    turned = module._turned

    def noted(picture: Tensor, degrees: float, margin: int, interpolation: InterpolationMode) -> Tensor:
        angles.append(degrees)
        return turned(picture, degrees, margin, interpolation)

    monkeypatch.setattr(module, "_turned", noted)
    for seed in range(80):
        _chosen(monkeypatch, True, False, False, False, False)
        assert int(augment(image, None, generator_for(seed))[0].min()) >= 120
    assert max(angles) <= 30
    assert min(angles) >= -30
    assert max(angles) > 25
    assert min(angles) < -25


def test_the_widest_turn_reflects_the_border_of_image_and_mask() -> None:
    for degrees in (30.0, -30.0):
        image, mask = module._rotate(*_marked(), degrees)
        assert mask is not None
        assert int(image.min()) >= 59
        assert _agreement(image, mask) > 0.9
    edge = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    edge[:3] = 1
    reflected = module._rotate(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), edge, 30.0)[1]
    assert reflected is not None
    assert not reflected[0].all()
    assert reflected.any()


def test_a_turn_goes_the_way_that_its_sign_says() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    mask[28:33, 45:55] = 1  # right of the center
    _, moved = module._rotate(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), mask, 25.0)
    assert moved is not None
    rows, columns = moved.nonzero().float().mean(dim=0).tolist()
    assert rows == pytest.approx(30 - 19.5 * 0.4226, abs=0.7)  # counterclockwise: up
    assert columns == pytest.approx(30 + 19.5 * 0.9063, abs=0.7)


def test_right_angles_are_exact_and_all_four_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = _marked()
    seen = set()
    for seed in range(30):
        _chosen(monkeypatch, False, True, False, False, False)
        turned, moved = augment(image, mask, generator_for(seed))
        fits = [k for k in range(4) if torch.equal(turned, torch.rot90(image, k, (1, 2)))]
        assert len(fits) == 1
        assert moved is not None
        assert torch.equal(moved, torch.rot90(mask, fits[0]))
        seen.add(fits[0])
    assert seen == {0, 1, 2, 3}


def test_brightness_and_contrast_stay_within_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.tensor([80, 160], dtype=torch.uint8).expand(3, 2, 2).contiguous()
    factors, shifts = [], []
    for seed in range(80):
        _chosen(monkeypatch, False, False, True, False, False)
        dark, light = augment(image, None, generator_for(seed))[0][0, 0].tolist()
        if dark > 0 and light < 255:
            factors.append((light - dark) / 80)
            shifts.append(dark - 80 * factors[-1])
    assert 0.78 < min(factors) < 0.88
    assert 1.12 < max(factors) < 1.22
    assert -53 < min(shifts) < -38
    assert 38 < max(shifts) < 53


def test_noise_has_the_stated_variance_and_no_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    variances = []
    for seed in range(40):
        _chosen(monkeypatch, False, False, False, True, False)
        noisy = augment(image, None, generator_for(seed))[0].float()
        assert float(noisy.mean()) == pytest.approx(128, abs=0.4)
        assert float((noisy[0] - noisy[1]).std()) > 1
        variances.append(float(noisy.var()) - 1 / 12)
    assert min(variances) > 9
    assert max(variances) < 53
    assert max(variances) - min(variances) > 25


def test_the_mean_blur_is_the_mean_of_nine_pixels() -> None:
    image = torch.zeros(3, 9, 9, dtype=torch.uint8)
    image[:, 4, 4] = 90
    blurred = module._mean_blur(image, torch.Generator())
    assert blurred[0, 3:6, 3:6].tolist() == [[10] * 3] * 3
    assert int(blurred.sum()) == 3 * 90


def test_the_gaussian_blur_keeps_the_level_and_the_place() -> None:
    image = torch.zeros(3, 21, 21, dtype=torch.uint8)
    image[:, 6:9, 11:14] = 240
    peaks = set()
    for seed in range(20):
        blurred = module._gaussian_blur(image, generator_for(seed))[0].float()
        assert float(blurred.sum()) == pytest.approx(9 * 240, rel=0.02)
        assert divmod(int(blurred.argmax()), 21) == (7, 12)
        peaks.add(int(blurred.max()))
    assert len(peaks) == 3


def test_color_jitter_keeps_the_structure_and_stays_small() -> None:
    photo = _photo()
    gray = photo.float().mean(dim=0)
    for seed in range(20):
        jittered = module._jitter(photo, generator_for(seed)).float()
        assert jittered.shape == photo.shape
        correlation = torch.corrcoef(torch.stack((jittered.mean(dim=0).flatten(), gray.flatten())))[0, 1]
        assert float(correlation) > 0.9
        assert float((jittered.mean() - photo.float().mean()).abs()) < 50


def test_a_mosaic_shows_four_halved_images_row_by_row() -> None:
    pairs = []
    for i in range(4):
        mask = torch.zeros(20, 20, dtype=torch.uint8)
        mask[4 : 8 + 2 * i, 2:10] = 1
        pairs.append((torch.full((3, 20, 20), 40 * (i + 1), dtype=torch.uint8), mask))
    image, whole = mosaic(pairs)
    assert whole is not None
    assert (image.dtype, whole.dtype) == (torch.uint8, torch.uint8)
    for i in range(4):
        rows, columns = slice(10 * (i // 2), 10 * (i // 2) + 10), slice(10 * (i % 2), 10 * (i % 2) + 10)
        assert set(image[:, rows, columns].flatten().tolist()) == {40 * (i + 1)}
        expected = torch.zeros(10, 10, dtype=torch.uint8)
        expected[2 : 4 + i, 1:5] = 1
        assert torch.equal(whole[rows, columns], expected)


def test_a_mosaic_of_an_odd_size_is_whole() -> None:
    full = torch.full((3, 15, 15), 77, dtype=torch.uint8), torch.ones(15, 15, dtype=torch.uint8)
    image, mask = mosaic([full] * 4)
    assert mask is not None
    assert set(image.flatten().tolist()) == {77}
    assert bool(mask.all())


def test_a_mosaic_with_an_image_without_mask_has_no_mask() -> None:
    image, mask = _marked()
    assert mosaic([(image, mask), (image, None), (image, mask), (image, mask)])[1] is None


def test_a_mosaic_of_other_than_four_images_of_one_size_is_refused() -> None:
    image, mask = _marked()
    with pytest.raises(ValueError, match="four images"):
        mosaic([(image, mask)] * 3)
    with pytest.raises(ValueError, match="of one size"):
        mosaic([(image, mask)] * 3 + [(image[:, :10, :10], mask[:10, :10])])
