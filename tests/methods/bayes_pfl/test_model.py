import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medzsad.clip.tower import Tower
from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from medzsad.methods.bayes_pfl.model import spoken_name
from medzsad.methods.noise import SharedNoise
from tests import tiny

NAMES = ["brain", "printed circuit board", "colon"]


def test_batch_predictions_equal_those_of_single_images() -> None:
    detector, images, noise = tiny.detector(), tiny.images(3), SharedNoise(2)
    batch = detector.predict(images, NAMES, noise)
    assert (batch.image_score[0] - batch.image_score[1]).abs() > 1e-4
    for i, name in enumerate(NAMES):
        alone = detector.predict(images[i : i + 1], [name], noise)
        torch.testing.assert_close(batch.score_map[i], alone.score_map[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(batch.image_score[i], alone.image_score[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(batch.spread[i], alone.spread[0], atol=1e-6, rtol=0)


def test_map_and_spread_equal_those_of_the_pairwise_softmax_at_full_size() -> None:
    detector, images = tiny.detector(samples=4), tiny.images(2)
    draws = tiny.draws(2, 4, seed=1)
    with torch.inference_mode():
        features = image_features(detector.clip, tiny.SPEC, images)
        text = detector.model.text_embeddings(detector.tower, features, NAMES[:2], draws)
        maps = torch.stack([_full_size(x) for x in detector.model.pixel_logits(features, text)], dim=1)
    by_sample = maps.unflatten(2, (4, -1)).mean(dim=(1, 3))  # (b, R, H, W)
    found = detector.predict(images, NAMES[:2], SharedNoise(1))
    torch.testing.assert_close(found.score_map, by_sample.mean(dim=1), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.spread, by_sample.std(dim=1, correction=0), atol=1e-6, rtol=0)
    assert found.spread.max() > 1e-3


def _full_size(logits: Tensor) -> Tensor:
    b, pairs, _, _ = logits.shape
    grid = logits.reshape(b, pairs * 2, 4, 4)
    upsampled = interpolate(grid, size=(28, 28), mode="bilinear", align_corners=True)
    return upsampled.reshape(b, pairs, 2, 28, 28).softmax(dim=2)[:, :, 1]


def test_scores_are_probabilities_and_one_sample_has_no_spread() -> None:
    found = tiny.detector(samples=1).predict(tiny.images(2), NAMES[:2], SharedNoise())
    assert found.spread is None
    assert found.score_map.shape == (2, 28, 28)
    assert found.score_map.min() >= 0
    assert found.score_map.max() <= 1
    assert ((found.image_score >= 0) & (found.image_score <= 1)).all()


def test_stages_differ_in_the_image_score_only() -> None:
    first, second = (tiny.detector(stage=s).predict(tiny.images(1), ["brain"], SharedNoise()) for s in (1, 2))
    assert torch.equal(first.score_map, second.score_map)
    assert (first.image_score - second.image_score).abs() > 1e-5


def test_class_name_image_and_seed_change_the_scores() -> None:
    detector, images = tiny.detector(), tiny.images(2)
    base = detector.predict(images[:1], ["brain"], SharedNoise(0)).score_map
    others = [
        detector.predict(images[:1], ["colon"], SharedNoise(0)).score_map,
        detector.predict(images[1:], ["brain"], SharedNoise(0)).score_map,
        detector.predict(images[:1], ["brain"], SharedNoise(1)).score_map,
    ]
    assert all((other - base).abs().max() > 1e-4 for other in others)


def test_mixed_precision_gives_float32_maps_near_the_exact_ones() -> None:
    detector, images = tiny.detector(), tiny.images(2)
    exact = detector.predict(images, NAMES[:2], SharedNoise())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector.predict(images, NAMES[:2], SharedNoise())
    assert found.score_map.dtype == found.image_score.dtype == torch.float32
    assert (found.score_map - exact.score_map).abs().max() < 0.1


def test_every_learned_number_gets_a_gradient() -> None:
    prompts = tiny.prompts().train()
    with torch.no_grad():  # away from the flat ends of the tanh
        for flow in (prompts.normal_flow, prompts.abnormal_flow):
            flow.w.mul_(0.02)
            flow.beta.mul_(0.1)
        prompts.context_flow.w.weight.mul_(0.02)
        prompts.context_flow.w.bias.mul_(0.02)
        prompts.context_flow.beta.weight.mul_(0.1)
    tower = Tower(tiny.tower(), tiny.SPEC)
    with torch.no_grad():
        features = tower.features(tiny.images(2))
    sample = prompts.sample_prompts(features, tiny.draws(2, 1))
    text = prompts.encode_prompts(tower, sample, NAMES[:2])
    logits = prompts.pixel_logits(features, text)
    loss = sum((x * torch.randn_like(x)).sum() for x in logits)
    (loss + (prompts.image_logits(features, text, 2) * torch.randn(2)).sum()).backward()
    silent = [name for name, p in prompts.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A softmax does not see a shift of all its logits.
    assert silent in ([], ["summary.weigh.bias"])
    assert sample.normal.end.shape == (1, tiny.WIDTH)
    assert sample.context.log_determinant.shape == (2, 1)


def test_industrial_names_are_spoken_as_the_authors_do() -> None:
    assert [spoken_name(n) for n in ("pcb3", "metal_nut", "Brain")] == ["printed circuit board", "metal nut", "brain"]


def test_wrong_sizes_and_overlong_names_are_refused() -> None:
    detector = tiny.detector()
    with pytest.raises(ConfigError, match=r"\(b, 3, 28, 28\)"):
        detector.predict(torch.zeros(1, 3, 28, 35), ["brain"], SharedNoise())
    with pytest.raises(ConfigError, match="class names"):
        detector.predict(tiny.images(2), ["brain"], SharedNoise())
    with pytest.raises(ConfigError, match="shorter name"):
        detector.predict(tiny.images(1), ["brain " * 71], SharedNoise())
