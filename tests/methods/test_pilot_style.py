"""PILOT-style prompts: formulas of the reconstruction, its switches, and adaptation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError
from medzsad.methods.detector import checked_options
from medzsad.methods.noise import SharedNoise
from medzsad.methods.pilot_style.adaptation import pseudo_labels
from medzsad.methods.pilot_style.fusion import anchors, balance, fused, pool_weights
from medzsad.methods.pilot_style.model import PilotStyle, PilotStyleOptions, PilotStyleTrainOptions
from tests import tiny
from tests.methods import worded

NAME = "pilot-style"


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_texts_are_the_formulas_of_the_reconstruction() -> None:
    model, tower = worded.model(NAME), worded.tower(NAME)
    cls = _random(2, tiny.WIDTH)
    found = model.texts(tower, cls, PilotStyleOptions(share=0.4))
    pool = model.pool_features(tower)
    for image in range(2):
        g = cls[image] / cls[image].norm()
        own = []
        for bank in (model.bank_normal, model.bank_abnormal):
            near = [math.exp(float(g @ phrase) / 0.07) for phrase in bank]
            mixed = sum((weight * phrase for weight, phrase in zip(near, bank, strict=True)), torch.zeros(tiny.WIDTH))
            own.append(mixed / mixed.norm())
        query = g - (g @ own[0]) * own[0]
        query = query / query.norm()
        shares = torch.stack([(query @ key / key.norm() / 0.07).exp() for key in model.keys])
        shares = shares / shares.sum()
        torch.testing.assert_close(found.weights[image], shares, atol=1e-5, rtol=1e-4)
        for state in range(2):
            learned = sum((shares[k] * pool[k, state] for k in range(3)), torch.zeros(tiny.WIDTH))
            rest = learned - (learned @ own[state]) * own[state]
            expected = own[state] + 0.4 * rest / rest.norm()
            torch.testing.assert_close(found.fused[image, state], expected / expected.norm(), atol=1e-5, rtol=1e-4)


def test_what_is_learned_adds_a_bounded_share_to_the_phrases() -> None:
    anchor, learned = normalize(_random(5, 2, 8), dim=-1), 100 * _random(5, 2, 8, seed=1)
    assert torch.allclose(fused(learned, anchor, 0.0), anchor)
    angle = (fused(learned, anchor, 0.3) * anchor).sum(dim=-1)
    torch.testing.assert_close(angle, torch.full_like(angle, 1 / math.sqrt(1.09)))
    loose = (fused(learned, anchor, 0.3, project=False) * anchor).sum(dim=-1)
    assert loose.min() > 0.95 * angle.min()
    assert not torch.allclose(loose, angle)


def test_balance_is_zero_where_all_prompts_are_used_alike_and_log_k_where_one_is() -> None:
    assert float(balance(torch.full((3, 4), 0.25))) == pytest.approx(0.0, abs=1e-6)
    assert float(balance(torch.eye(4))) == pytest.approx(0.0, abs=1e-6)
    assert float(balance(torch.eye(4)[:1].expand(3, -1))) == pytest.approx(math.log(4), rel=1e-5)


def test_the_choice_of_prompts_ignores_what_the_normal_phrases_say() -> None:
    anchor, keys = normalize(_random(1, 8), dim=-1), _random(4, 8, seed=2)
    g = _random(1, 8, seed=1)
    shifted = g + 0.1 * anchor
    before, after = pool_weights(g, keys, anchor), pool_weights(shifted, keys, anchor)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(pool_weights(g, keys, None), pool_weights(shifted, keys, None), atol=1e-4)
    assert torch.allclose(anchors(g, anchor), anchor)


def test_a_single_prompt_without_phrases_is_compared_as_it_is() -> None:
    torch.manual_seed(0)
    sizes = worded.SIZES[NAME] | {"prompts": 1, "normal_phrases": 0, "abnormal_phrases": 0}
    model, tower = PilotStyle(**sizes).eval(), worded.tower(NAME)
    texts = model.texts(tower, _random(2, tiny.WIDTH), PilotStyleOptions())
    torch.testing.assert_close(texts.fused, model.pool_features(tower).expand(2, -1, -1))


def test_phrases_of_one_kind_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="both kinds"):
        checked_options(PilotStyleTrainOptions, {"normal_phrases": []}, "here")


def test_phrases_of_unknown_words_are_refused_by_name() -> None:
    tower = worded.tower(NAME)
    with torch.no_grad():
        tower.clip.token_embedding.weight[2000:49000] = 0
    options = PilotStyleTrainOptions(deep_prompts=1, normal_phrases=("hemorrhage",))
    model = PilotStyle(**PilotStyle.sizes_for(tower, options))
    with pytest.raises(ConfigError, match=r"'hemorrhage'.*normal_phrases"), torch.no_grad():
        model.start_from(tower, options)


def test_pseudo_labels_pass_a_gate() -> None:
    abnormal = torch.full((3, 40), 0.1)
    abnormal[0, :3] = torch.tensor([0.9, 0.8, 0.6])
    abnormal[1, :3] = 0.6
    found = pseudo_labels(abnormal)
    assert found.sure_images.tolist() == [True, False, True]
    assert found.images.tolist() == [1.0, 0.0, 0.0]
    assert found.sure_patches[0].sum() == 39  # the one at 0.6 is not sure
    assert not found.sure_patches[1].any()
    assert found.patches.sum(dim=1).tolist() == [2.0, 0.0, 0.0]
    everyone = pseudo_labels(abnormal, gated=False)
    assert everyone.sure_patches.all()
    assert everyone.sure_images.all()
    assert everyone.images.tolist() == [1.0, 1.0, 0.0]
    assert everyone.patches.sum(dim=1).tolist() == [3.0, 3.0, 0.0]


def _features(count: int) -> ImageFeatures:
    return ImageFeatures(_random(count, tiny.WIDTH), (_random(count, 16, tiny.WIDTH, seed=1),), (4, 4))


def _maps(detector: Any, features: ImageFeatures) -> Tensor:
    count = len(features.cls)
    found: Tensor = detector.predict_features(features, [""] * count, SharedNoise(), size=(8, 8)).score_map
    return found


def test_an_image_is_scored_before_it_teaches_and_reset_forgets() -> None:
    plain = worded.detector(NAME)
    adapting = worded.detector(NAME, adapt=True, gated=False, adapt_rate=0.02)
    start = {name: value.clone() for name, value in adapting.model.state_dict().items()}
    features = _features(3)
    expected, found = _maps(plain, features), _maps(adapting, features)
    torch.testing.assert_close(found[0], expected[0])
    assert (found[1:] - expected[1:]).abs().amax(dim=(1, 2)).min() > 1e-4
    moved = {name for name, value in adapting.model.state_dict().items() if not torch.equal(value, start[name])}
    assert moved == {"normal", "abnormal", "keys"}
    assert adapting.model.reset() == 3
    assert all(torch.equal(value, start[name]) for name, value in adapting.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in adapting.model.parameters())
    torch.testing.assert_close(_maps(adapting, features), found)
    assert (plain.model.reset(), plain.adapts, adapting.adapts) == (0, False, True)


def test_one_by_one_is_the_same_as_all_at_once() -> None:
    features = _features(3)
    whole = _maps(worded.detector(NAME, adapt=True, gated=False, adapt_rate=0.02), features)
    single = worded.detector(NAME, adapt=True, gated=False, adapt_rate=0.02)
    for place in range(3):
        one = ImageFeatures(features.cls[place : place + 1], (features.patches[0][place : place + 1],), (4, 4))
        torch.testing.assert_close(_maps(single, one)[0], whole[place])


def test_unsure_images_teach_nothing() -> None:
    detector = worded.detector(NAME, adapt=True, adapt_rate=0.02)
    features = _features(2)
    texts = detector.model.texts(detector.tower, features.cls, detector.options)
    middle = normalize(texts.fused.sum(dim=1) + texts.anchor.sum(dim=1), dim=-1)[:, None].expand(-1, 16, -1)
    unsure = ImageFeatures(features.cls, (middle.contiguous(),), (4, 4))
    _maps(detector, unsure)
    steps = detector.model.reset()
    _maps(detector, features)
    assert steps < 2


def test_adaptation_goes_downhill_on_its_own_labels() -> None:
    detector = worded.detector(NAME, adapt=True, gated=False, adapt_rate=0.01)
    one = ImageFeatures(_random(1, tiny.WIDTH), (_random(1, 16, tiny.WIDTH, seed=1),), (4, 4))
    maps = [_maps(detector, one)[0] for _ in range(12)]
    sure = [(score - 0.5).abs().mean() for score in maps]
    assert sure[-1] > sure[0]
