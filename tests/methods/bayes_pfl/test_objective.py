"""The objective on a tiny tower: its parts, who takes part in them, and where gradients go."""

from dataclasses import replace
from math import log
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures, image_features
from medzsad.methods.bayes_pfl.model import BayesPFL, BayesPFLTrainOptions, PromptSample
from medzsad.methods.bayes_pfl.objective import bayes_pfl_losses
from medzsad.methods.losses import dice_loss, focal_loss
from medzsad.methods.objective import Truth
from medzsad.training.randomness import generator_for
from tests import tiny

IMAGES = 3
PARTS = ["classification", "focal", "dice", "kl_context", "kl_normal", "kl_abnormal", "orthogonal"]


def _truth() -> Truth:
    masks = torch.zeros(IMAGES, 20, 20)
    masks[1, 2:9, 4:7] = 1
    masks[2, 11:, 13:19] = 1
    return Truth(torch.tensor([0, 1, 1]), masks, torch.ones(IMAGES, dtype=torch.bool))


@pytest.fixture(scope="module")
def features() -> ImageFeatures:
    side = tiny.SPEC.image_size
    with torch.no_grad():
        return image_features(
            tiny.tower(), tiny.SPEC, torch.randn(IMAGES, 3, side, side, generator=generator_for(0, 1))
        )


def _sampled(prompts: BayesPFL, features: ImageFeatures) -> tuple[Tensor, PromptSample]:
    source = generator_for(0, 2)
    shapes = {"context": (IMAGES, 1), "normal": (1,), "abnormal": (1,)}
    draws = {name: torch.randn(*shape, tiny.WIDTH, generator=source) for name, shape in shapes.items()}
    sample = prompts.sample_prompts(features, draws)
    return prompts.encode_prompts(Tower(tiny.tower(), tiny.SPEC), sample, ["screw", "wood", "pcb1"]), sample


def _losses(
    features: ImageFeatures,
    truth: Truth,
    stage: Literal[1, 2] = 1,
    pair: int = 1,
    options: BayesPFLTrainOptions | None = None,
    prompts: BayesPFL | None = None,
) -> dict[str, Tensor]:
    prompts = prompts or tiny.prompts()
    text, sample = _sampled(prompts, features)
    return bayes_pfl_losses(prompts, text, sample, features, truth, pair, stage, options or BayesPFLTrainOptions())


def _numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}


def test_stage_one_has_all_parts_and_stage_two_the_classification_alone(features: ImageFeatures) -> None:
    assert list(_losses(features, _truth())) == PARTS
    assert list(_losses(features, _truth(), stage=2)) == ["classification"]


@pytest.mark.parametrize("pair", [0, 1])
def test_the_drawn_pair_is_judged_as_if_all_maps_had_been_made(features: ImageFeatures, pair: int) -> None:
    prompts, truth = tiny.prompts(), _truth()
    losses = _numbers(_losses(features, truth, pair=pair))
    with torch.no_grad():
        text, _ = _sampled(prompts, features)
        focal = dice = 0.0
        for layer in prompts.pixel_logits(features, text):
            maps = layer[:, pair].reshape(IMAGES, 2, *features.grid)
            maps = interpolate(maps, size=(20, 20), mode="bilinear", align_corners=True).softmax(dim=1)
            focal += float(focal_loss(maps, truth.masks))
            dice += float(dice_loss(maps[:, 1], truth.masks))
        image = [
            float(cross_entropy(prompts.image_logits(features, text, stage)[:, pair], truth.labels)) for stage in (1, 2)
        ]
    assert losses["focal"] == pytest.approx(focal, rel=1e-5)
    assert losses["dice"] == pytest.approx(dice, rel=1e-5)
    assert losses["classification"] == pytest.approx(image[0], rel=1e-5)
    assert _numbers(_losses(features, truth, 2, pair))["classification"] == pytest.approx(image[1], rel=1e-5)


def test_an_image_without_pixel_label_takes_part_in_the_classification_alone(features: ImageFeatures) -> None:
    truth = replace(_truth(), has_mask=torch.tensor([True, False, True]))
    junk = truth.masks.clone()
    junk[1] = 1
    with_junk = _numbers(_losses(features, replace(truth, masks=junk)))
    assert with_junk == _numbers(_losses(features, truth))
    everything = _numbers(_losses(features, _truth()))
    changed = {name for name in PARTS if with_junk[name] != pytest.approx(everything[name], rel=1e-6)}
    assert changed == {"focal", "dice"}
    kept = [0, 2]
    prompts = tiny.prompts()
    with torch.no_grad():
        text, _ = _sampled(prompts, features)
        maps = [
            interpolate(layer[kept][:, 1].reshape(2, 2, *features.grid), (20, 20), mode="bilinear", align_corners=True)
            for layer in prompts.pixel_logits(features, text)
        ]
        dice = sum(float(dice_loss(one.softmax(dim=1)[:, 1], truth.masks[kept])) for one in maps)
    assert with_junk["dice"] == pytest.approx(dice, rel=1e-5)


def test_a_batch_without_pixel_labels_gives_zero_map_losses_that_can_be_differentiated(features: ImageFeatures) -> None:
    prompts = tiny.prompts()
    truth = replace(_truth(), has_mask=torch.zeros(IMAGES, dtype=torch.bool))
    losses = _losses(features, truth, prompts=prompts)
    assert float(losses["focal"].detach()) == 0
    assert float(losses["dice"].detach()) == 0
    (losses["focal"] + losses["dice"]).backward()  # type: ignore[no-untyped-call]
    gradient = prompts.refinement.query.weight.grad
    assert gradient is not None
    assert not gradient.any()


def test_the_clean_divergence_counts_each_log_determinant_once_per_sample(features: ImageFeatures) -> None:
    prompts = tiny.prompts()
    with torch.no_grad():  # steps that stretch
        for flow in (prompts.normal_flow, prompts.abnormal_flow):
            flow.w.mul_(0.02)
            flow.u.copy_(50 * flow.w)
    clean, legacy = (
        _numbers(_losses(features, _truth(), options=BayesPFLTrainOptions(legacy_kl=legacy), prompts=prompts))
        for legacy in (False, True)
    )
    _, sample = _sampled(prompts, features)
    for name, drawn in (("kl_normal", sample.normal), ("kl_abnormal", sample.abnormal)):
        missing = 0.01 * float(drawn.log_determinant.detach().mean()) * (1 - 1 / IMAGES)
        assert abs(missing) > 1e-3
        assert legacy[name] - clean[name] == pytest.approx(missing, rel=1e-3)
    assert {name for name in PARTS if legacy[name] != clean[name]} == {"kl_normal", "kl_abnormal"}


def test_the_divergence_is_weighted(features: ImageFeatures) -> None:
    light = _numbers(_losses(features, _truth()))
    heavy = _numbers(_losses(features, _truth(), options=BayesPFLTrainOptions(kl_weight=0.5)))
    for name in PARTS:
        assert heavy[name] == pytest.approx(light[name] * (50 if name.startswith("kl_") else 1), rel=1e-5)


def test_gradients_of_each_stage_reach_what_that_stage_learns(features: ImageFeatures) -> None:
    reached = {}
    stages: tuple[Literal[1, 2], ...] = (1, 2)
    for stage in stages:
        prompts = tiny.prompts()
        torch.stack(list(_losses(features, _truth(), stage, prompts=prompts).values())).sum().backward()  # type: ignore[no-untyped-call]
        reached[stage] = {name for name, p in prompts.named_parameters() if p.grad is not None}
    names = {name for name, _ in tiny.prompts().named_parameters()}
    assert names - reached[1] == {name for name in names if name.startswith(("summary.", "image_head."))}
    assert names - reached[2] == {name for name in names if name.startswith("refinement.")} | {"log_scale_pixel"}


def test_only_the_orthogonality_sees_the_prompts_that_were_not_drawn(features: ImageFeatures) -> None:
    prompts = tiny.prompts()
    losses = _losses(features, _truth(), pair=0, prompts=prompts)
    for name in PARTS:
        prompts.zero_grad(set_to_none=True)
        losses[name].backward(retain_graph=True)  # type: ignore[no-untyped-call]
        gradient = prompts.prompt_normal.grad
        assert (gradient is not None and bool(gradient[1].any())) == (name == "orthogonal"), name


def test_a_pair_that_knows_nothing_has_the_losses_of_a_coin(features: ImageFeatures) -> None:
    prompts, truth = tiny.prompts(), _truth()
    text, sample = _sampled(prompts, features)
    same = text[:, :, :1].expand(-1, -1, 2, -1)
    found = bayes_pfl_losses(prompts, same, sample, features, truth, 0, 1, BayesPFLTrainOptions())
    losses = _numbers(found)
    layers = len(tiny.SPEC.layers)
    assert losses["classification"] == pytest.approx(log(2), rel=1e-5)
    assert losses["focal"] == pytest.approx(layers * 2 * 0.25 * log(2), rel=1e-4)
    share = float(truth.masks.sum()) / truth.masks.numel()
    assert losses["dice"] == pytest.approx(layers * (1 - share / (0.5 + share)), rel=1e-4)


def test_mixed_precision_changes_the_losses_only_a_little(features: ImageFeatures) -> None:
    exact = _numbers(_losses(features, _truth()))
    with torch.autocast("cpu", torch.bfloat16):
        losses = _losses(features, _truth())
    assert {value.dtype for value in losses.values()} == {torch.float32}
    for name in PARTS:
        assert _numbers(losses)[name] == pytest.approx(exact[name], rel=0.1, abs=0.05)
