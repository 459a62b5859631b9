"""Slices to scores: batches, memory, and numbers that are none."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from medzsad.errors import ScoringError
from medzsad.methods.base import Prediction
from medzsad.methods.noise import NoiseSource, SharedNoise
from medzsad.scoring.engine import ScoreVolume, one_ahead, score_stack, smooth
from medzsad.slices.stack import SliceStack, stack_slices
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan


@pytest.fixture
def stack() -> SliceStack:
    return stack_slices(phantom_scan().scan, size=48)


def _score(detector: BrightnessDetector, stack: SliceStack, batch_size: int, step: int = 1) -> ScoreVolume:
    return score_stack(
        detector,
        stack,
        class_name="tissue",
        noise=SharedNoise(0),
        device=torch.device("cpu"),
        batch_size=batch_size,
        step=step,
    )


class SmallMemory(BrightnessDetector):
    """Runs out of memory with more than two images at once."""

    largest = 2

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        if len(images) > self.largest:
            raise torch.OutOfMemoryError("too many")
        return super().predict(images, class_names, noise)


class Broken(BrightnessDetector):
    """Returns non-finite scores."""

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        prediction = super().predict(images, class_names, noise)
        return Prediction(prediction.score_map * float("nan"), prediction.image_score, None)


class NoSpread(BrightnessDetector):
    """Gives no spread."""

    def predict(self, images: Tensor, class_names: Sequence[str], noise: NoiseSource) -> Prediction:
        prediction = super().predict(images, class_names, noise)
        return Prediction(prediction.score_map, prediction.image_score, None)


def test_a_batch_that_does_not_fit_is_halved_with_the_same_scores(stack: SliceStack) -> None:
    whole = _score(BrightnessDetector(size=48), stack, batch_size=8)
    halved = _score(SmallMemory(size=48), stack, batch_size=8)
    assert np.array_equal(whole.score, halved.score)
    assert np.array_equal(whole.image_score, halved.image_score)
    assert whole.spread is not None
    assert halved.spread is not None
    assert np.array_equal(whole.spread, halved.spread)


def test_a_single_image_that_does_not_fit_is_an_error(stack: SliceStack) -> None:
    detector = SmallMemory(size=48)
    detector.largest = 0
    with pytest.raises(torch.OutOfMemoryError):
        _score(detector, stack, batch_size=4)


def test_scores_that_are_no_numbers_are_an_error_and_not_a_mask(stack: SliceStack) -> None:
    with pytest.raises(ScoringError, match="non-finite"):
        _score(Broken(size=48), stack, batch_size=4)


def test_a_method_without_spread_gives_none(stack: SliceStack) -> None:
    assert _score(NoSpread(size=48), stack, batch_size=4).spread is None


def test_smoothing_takes_millimeters_whatever_the_pixel_size() -> None:
    scan = phantom_scan().scan
    widths_mm = []
    for size in (48, 96):
        stack = stack_slices(scan, size=size)
        point = np.zeros((len(stack), size, size), np.float32)
        point[len(stack) // 2, size // 2, size // 2] = 1.0
        spread = smooth(stack, point, 6.0)[len(stack) // 2].sum(axis=0)
        columns = np.arange(size) * stack.pixel_mm[2]
        mean = (spread * columns).sum() / spread.sum()
        widths_mm.append(float(np.sqrt((spread * (columns - mean) ** 2).sum() / spread.sum())))
    assert widths_mm == pytest.approx([6.0, 6.0], rel=0.1)


def test_slices_between_the_scored_ones_are_interpolated(stack: SliceStack) -> None:
    whole, thin = _score(BrightnessDetector(48), stack, 8), _score(BrightnessDetector(48), stack, 3, step=3)
    chosen = stack.chosen(3)
    assert 2 < len(chosen) < int(stack.tissue.sum())
    assert np.flatnonzero(thin.scored).tolist() == chosen.tolist()
    assert np.array_equal(thin.score[chosen], whole.score[chosen])
    first, second = chosen[:2]
    assert second - first == 3
    expected = (2 * whole.score[first] + whole.score[second]) / 3
    assert np.allclose(thin.score[first + 1], expected, atol=1e-6)
    assert thin.image_score[first + 1] == pytest.approx(
        (2 * whole.image_score[first] + whole.image_score[second]) / 3, abs=1e-6
    )
    assert whole.spread is not None
    assert thin.spread is not None
    assert np.allclose(thin.spread[first + 2], (whole.spread[first] + 2 * whole.spread[second]) / 3, atol=1e-6)
    assert not thin.score[~stack.tissue].any()


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        begun.set()
        yield 1

    ahead = one_ahead(items())
    assert next(ahead) == 0
    assert begun.wait(5)
    assert list(ahead) == [1]


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("broken")

    ahead = one_ahead(items())
    assert next(ahead) == 0
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
