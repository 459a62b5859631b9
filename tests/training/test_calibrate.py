"""The threshold lets through the stated share of normal pixels, and says on which images."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from medzsad.errors import ConfigError, ScoringError
from medzsad.methods.base import Prediction
from medzsad.methods.noise import NoiseSource
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD, clip_normalize
from medzsad.training import calibrate as module
from medzsad.training.calibrate import Calibration, calibrate
from tests.detectors import BrightnessDetector

SIDE = 48


def batches(levels: Tensor, size: int = 3) -> Iterator[tuple[Tensor, list[str]]]:
    """Gray images (n, h, w) as the detector takes them."""
    for first in range(0, len(levels), size):
        part = levels[first : first + size]
        yield torch.stack([clip_normalize(image[None]) for image in part]), ["bolt"] * len(part)


def sound(count: int = 10, seed: int = 1) -> Tensor:
    """Images whose pixels are even in [0, 0.9], each with its own share of dark ones."""
    generator = torch.Generator().manual_seed(seed)
    levels = 0.9 * torch.rand(count, SIDE, SIDE, generator=generator)
    return levels * torch.linspace(0.3, 1, count)[:, None, None]


def phantom_levels(count: int) -> Tensor:
    parts = [images[:, 0] for images, _ in module._phantoms(count, SIDE, "tissue")]
    return (torch.cat(parts) * CLIP_STD[0] + CLIP_MEAN[0]).clamp(0, 1)


def found(levels: Tensor | None = None, **options: object) -> Calibration:
    settings: dict[str, object] = {"phantoms": 12, "class_name": "tissue"}
    given = batches(sound() if levels is None else levels)
    return calibrate(BrightnessDetector(SIDE), given, **(settings | options))  # type: ignore[arg-type]


def rate(levels: Tensor, threshold: float) -> float:
    return float((levels >= threshold).double().mean())


@pytest.mark.parametrize("share", [0.06, 0.1, 0.3])
def test_each_set_lets_through_at_most_the_stated_share_and_one_of_them_just_that(share: float) -> None:
    calibration = found(false_pixels=share)
    rates = [rate(sound(), calibration.threshold), rate(phantom_levels(12), calibration.threshold)]
    assert max(rates) == pytest.approx(share, rel=0.02, abs=2e-4)
    assert calibration.metrics["auxiliary_false_pixels"] == pytest.approx(rates[0], abs=1e-3)
    assert calibration.metrics["phantom_false_pixels"] == pytest.approx(rates[1], abs=1e-3)
    assert abs(rates[0] - rates[1]) > 1e-4, "two equal sets would not tell the stricter from the other"


def test_a_large_set_does_not_outweigh_a_small_one() -> None:
    few, many = found(sound(4), false_pixels=0.05), found(sound(4).repeat(5, 1, 1), false_pixels=0.05)
    assert few.threshold == many.threshold


def test_the_share_of_images_touched_is_counted() -> None:
    levels = torch.full((10, SIDE, SIDE), 0.1)
    levels[:3, 5, 7] = 0.95
    calibration = found(levels, phantoms=0, false_pixels=2e-4)
    assert 0.1 < calibration.threshold < 0.11
    assert calibration.metrics["auxiliary_images_touched"] == pytest.approx(0.3)
    assert calibration.metrics["auxiliary_images"] == 10


def test_without_sound_images_the_phantoms_count_alone_and_the_provenance_says_so() -> None:
    calibration = calibrate(BrightnessDetector(SIDE), [], false_pixels=0.05, phantoms=9, class_name="tissue")
    assert rate(phantom_levels(9), calibration.threshold) == pytest.approx(0.05, rel=0.02)
    assert "no normal auxiliary image was given" in calibration.provenance
    assert "9 generated healthy phantoms" in calibration.provenance
    assert not any(name.startswith("auxiliary") for name in calibration.metrics)


def test_the_provenance_states_counts_rates_and_that_nothing_medical_was_used() -> None:
    calibration = found(false_pixels=0.05)
    text = calibration.provenance
    assert "Chosen for at most 5.00% false pixels in each of two sets" in text
    assert f"{calibration.metrics['auxiliary_false_pixels']:.2%} of the pixels of 10 normal auxiliary" in text
    assert f"{calibration.metrics['phantom_false_pixels']:.2%} of the pixels of 12 generated healthy phantoms" in text
    assert text.endswith("No medical image was used.")


def test_phantoms_are_healthy_and_the_same_each_time() -> None:
    made = module.generate(16, SIDE, torch.Generator().manual_seed(module._SEED), lesion_share=0.0)
    assert not made.labels.any()
    assert not made.masks.any()
    assert found(false_pixels=0.05) == found(false_pixels=0.05)


def test_saturated_scores_end_at_one_with_the_rate_that_they_have() -> None:
    calibration = found(torch.ones(2, SIDE, SIDE), phantoms=0, false_pixels=0.05)
    assert calibration.threshold == 1.0
    assert calibration.metrics["auxiliary_false_pixels"] == 1.0


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        found(false_pixels=share)


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs normal images"):
        calibrate(BrightnessDetector(SIDE), [], phantoms=0, class_name="tissue")


class _Broken(BrightnessDetector):
    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        maps = torch.full_like(images[:, 0], torch.nan)
        return Prediction(maps, maps[:, 0, 0], None)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ScoringError, match="non-finite"):
        calibrate(_Broken(SIDE), batches(sound()), phantoms=0, class_name="tissue")


def test_kept_scores_rise_and_are_reached_by_at_most_their_share_of_each_set() -> None:
    calibration = found()
    scores, shares = zip(*calibration.normal_scores, strict=True)
    assert list(scores) == sorted(scores)
    assert list(shares) == sorted(shares, reverse=True)
    assert (calibration.threshold, 0.005) in calibration.normal_scores
    for score, share in calibration.normal_scores:
        assert score == 1.0 or max(rate(sound(), score), rate(phantom_levels(12), score)) <= share + 1e-9
    assert scores[0] < 1.0
