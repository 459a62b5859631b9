"""The losses against values worked out by hand and against plain loops."""

import math

import pytest
import torch

from medzsad.methods.losses import contrast_loss, dice_loss, flow_kl, focal_loss, label_loss, orthogonality_loss


def test_focal_loss_averages_abnormal_and_normal_pixels_apart() -> None:
    abnormal = torch.tensor([[[0.9, 0.2, 0.4, 0.1]]])
    masks = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    expected = -(0.1**2) * math.log(0.9) - sum((1 - p) ** 2 * math.log(p) for p in (0.8, 0.6, 0.9)) / 3
    probabilities = torch.stack((1 - abnormal, abnormal), dim=1)
    assert float(focal_loss(probabilities, masks)) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_a_batch_without_defects_is_finite() -> None:
    probabilities = torch.tensor([0.5, 0.5])[None, :, None, None].expand(2, 2, 3, 3)
    assert float(focal_loss(probabilities, torch.zeros(2, 3, 3))) == pytest.approx(0.25 * math.log(2), rel=1e-5)


def test_dice_loss_sums_over_the_whole_batch() -> None:
    abnormal = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    masks = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert float(dice_loss(abnormal, masks)) == pytest.approx(1 - 2 * 1.5 / 4, abs=1e-4)


def test_kl_without_flow_is_that_of_two_gaussians() -> None:
    source = torch.Generator().manual_seed(0)
    mean, log_variance = torch.tensor([[0.3, -0.5]]), torch.tensor([[0.2, -0.4]])
    start = mean + (0.5 * log_variance).exp() * torch.randn(200_000, 2, generator=source)
    found = flow_kl(start, mean, log_variance, start, torch.zeros(len(start)))
    expected = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum()
    assert float(found) == pytest.approx(float(expected), abs=0.01)


def test_kl_counts_the_log_determinant_once_per_sample_or_as_the_authors() -> None:
    zero = torch.zeros(4, 3)
    args = (zero, zero, zero, zero, torch.full((4,), 2.0))
    assert float(flow_kl(*args)) == pytest.approx(-2.0)
    assert float(flow_kl(*args, images=8)) == pytest.approx(-0.25)


def test_orthogonality_is_zero_for_orthogonal_prompts_and_largest_for_equal_ones() -> None:
    basis = torch.eye(3).expand(2, 3, 3)
    equal = torch.ones(2, 3, 3)
    assert float(orthogonality_loss(basis, basis)) == pytest.approx(0.0, abs=1e-6)
    assert float(orthogonality_loss(equal, basis)) == pytest.approx(6 / 9, rel=1e-5)


def test_label_loss_is_cross_entropy() -> None:
    assert float(label_loss(torch.zeros(2, 2), torch.tensor([0, 1]))) == pytest.approx(math.log(2), rel=1e-5)


def test_contrast_prefers_matching_pairs() -> None:
    features = torch.eye(4)
    scale = torch.tensor(10.0)
    assert float(contrast_loss(features, features, scale)) < float(contrast_loss(features, features.roll(1, 0), scale))
