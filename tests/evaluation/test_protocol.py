"""Protocols turn scores into what is compared as their papers do."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medzsad.errors import ConfigError
from medzsad.evaluation.protocol import (
    PROTOCOLS,
    RawScore,
    compared_map,
    compared_mask,
    find_protocol,
    image_scores,
    model_input,
    raw_score,
)

RAW = [RawScore(0.2, 0.5, 0.9), RawScore(0.4, 0.1, 0.3), RawScore(0.3, 0.3, 0.5)]


def test_the_fused_score_scales_both_parts_by_their_range_over_the_class() -> None:
    found = image_scores(find_protocol("bayes-pfl"), RAW, classification=False)
    assert found == pytest.approx([0.5 * 0 + 0.5 * 1, 0.5 * 1 + 0.5 * 0, 0.5 * 0.5 + 0.5 * 0.5])


def test_classification_sets_take_the_probability_alone() -> None:
    assert image_scores(find_protocol("bayes-pfl"), RAW, classification=True) == [0.2, 0.4, 0.3]


def test_fusing_equal_scores_divides_nothing_by_zero() -> None:
    assert image_scores(find_protocol("bayes-pfl"), [RAW[0], RAW[0]], classification=False) == [0.0, 0.0]


def test_cops_adds_a_tenth_of_the_maximum() -> None:
    found = image_scores(find_protocol("cops"), RAW, classification=False)
    assert found == pytest.approx([0.27, 0.39, 0.32])


def test_the_top_mean_is_that_of_2000_pixels_at_the_published_size() -> None:
    values = np.random.default_rng(0).permutation(518 * 518).reshape(518, 518).astype(np.float32) / 518**2
    found = raw_score(0.1, values)
    assert found.top_mean == pytest.approx(float(np.sort(values.ravel())[-2000:].mean()), abs=1e-6)
    assert found.maximum == pytest.approx(float(values.max()))


def test_papers_compare_smoothed_maps_on_the_models_square() -> None:
    values = np.random.default_rng(1).random((518, 518)).astype(np.float32)
    found = compared_map(find_protocol("bayes-pfl"), values, (100, 37))
    assert np.allclose(found, gaussian_filter(values, 8.0), atol=1e-6)


def test_smoothing_shrinks_with_the_models_square() -> None:
    values = np.random.default_rng(1).random((259, 259)).astype(np.float32)
    found = compared_map(find_protocol("bayes-pfl"), values, (100, 37))
    assert np.allclose(found, gaussian_filter(values, 4.0), atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (33, 33)])
def test_a_lesion_comes_back_to_its_place_on_the_images_own_grid(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[12:20, 8:14] = 255
    protocol = find_protocol("plain")
    gray = model_input(protocol, Image.fromarray(image), 64)[0].numpy()
    score = ((gray - gray.min()) / (gray.max() - gray.min())).astype(np.float32)
    found = compared_map(protocol, score, shape)
    assert found.shape == shape
    rows, columns = np.nonzero(found > 0.5)
    assert (rows.mean(), columns.mean()) == pytest.approx((15.5, 10.5), abs=0.6)


def test_stretched_masks_are_cut_at_one_half() -> None:
    mask = np.zeros((4, 8), bool)
    mask[:, :4] = True
    found = compared_mask(find_protocol("cops"), mask, 16)
    assert found.shape == (16, 16)
    assert found[:, :8].all()
    assert not found[:, 8:].any()
    assert compared_mask(find_protocol("plain"), mask, 16) is mask


def test_every_protocol_says_what_it_does() -> None:
    texts = {protocol.describe() for protocol in PROTOCOLS.values()}
    assert len(texts) == len(PROTOCOLS)
    assert "transductive" in find_protocol("bayes-pfl").describe()
    with pytest.raises(ConfigError, match="bayes-pfl"):
        find_protocol("bayes")
