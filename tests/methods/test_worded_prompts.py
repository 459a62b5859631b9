"""AnomalyCLIP and its siblings: a score depends on its image alone, and what is trained is what scores depend on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.faprompt import FAPromptObjective, FAPromptTrainOptions
from medzsad.methods.noise import SharedNoise
from medzsad.methods.objective import Truth
from medzsad.methods.registry import find_method
from medzsad.training.train import train
from medzsad.weights.card import WeightsCard, read_card
from medzsad.weights.load import load_detector
from medzsad.weights.store import save_weights
from tests import tiny
from tests.methods import worded
from tests.training.tiny_training import config

ALL = worded.NAMES + worded.RECONSTRUCTED


@pytest.mark.parametrize("name", ALL)
def test_scores_of_a_batch_are_those_of_its_images(name: str) -> None:
    detector, images = worded.detector(name), tiny.images(3)
    whole = detector.predict(images, [""] * 3, SharedNoise())
    assert whole.spread is None
    assert whole.score_map.shape == (3, 28, 28)
    for place in range(3):
        one = detector.predict(images[place : place + 1], [""], SharedNoise())
        torch.testing.assert_close(one.score_map[0], whole.score_map[place], atol=1e-6, rtol=0)
        torch.testing.assert_close(one.image_score[0], whole.image_score[place], atol=1e-6, rtol=0)
    assert 0 <= float(whole.score_map.min()) < float(whole.score_map.max()) <= 1
    assert len(whole.image_score.unique()) == 3


@pytest.mark.parametrize("name", ALL)
def test_any_grid_and_any_number_of_layers_give_a_map_between_0_and_1(name: str) -> None:
    detector = worded.detector(name)
    patches = tuple(torch.randn(2, 35, tiny.WIDTH) for _ in range(3))
    features = ImageFeatures(torch.randn(2, tiny.WIDTH), patches, (5, 7))
    found = detector.predict_features(features, ["", ""], SharedNoise(), size=(20, 28))
    assert found.score_map.shape == (2, 20, 28)
    assert 0 <= float(found.score_map.min()) < float(found.score_map.max()) <= 1


@pytest.mark.parametrize("name", ALL)
def test_asking_for_a_class_name_is_an_error(name: str) -> None:
    detector = worded.detector(name)
    assert detector.word() == ""
    with pytest.raises(ConfigError, match="uses no class name"):
        detector.word("brain")


@pytest.mark.parametrize("name", worded.NAMES)
def test_prompts_that_do_not_fit_the_text_tower_are_refused(name: str) -> None:
    found = find_method(name).model(**(worded.SIZES[name] | {"deep_prompts": 2}))
    with pytest.raises(ConfigError, match="do not fit the text tower"):
        found.text_embeddings(worded.tower(name))


def _losses(name: str, has_mask: tuple[bool, bool] = (True, True)) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    method, model, tower = find_method(name), worded.model(name), worded.tower(name)
    assert method.objective is not None
    assert method.train_options is not None
    objective = method.objective(method.train_options())
    masks = torch.zeros(2, 28, 28)
    masks[1, :9, :15] = 1
    truth = Truth(torch.tensor([0, 1]), masks, torch.tensor(has_mask))
    features, source = tower.features(tiny.images(2)), torch.Generator().manual_seed(0)
    stage = objective.stages[0]
    parts = objective.losses(model, tower, features, ["", ""], truth, {}, stage, source)
    assert tuple(parts) == stage.parts
    return model, parts


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_is_trained(name: str) -> None:
    model, parts = _losses(name)
    torch.stack(list(parts.values())).sum().backward()
    assert not [key for key, value in model.named_parameters() if value.grad is None or not bool(value.grad.any())]


@pytest.mark.parametrize("name", ALL)
def test_images_without_pixel_label_train_no_map(name: str) -> None:
    parts = [_losses(name, has)[1] for has in ((True, True), (True, False), (False, False))]
    whole, some, none = ({key: float(value.detach()) for key, value in one.items()} for one in parts)
    of_maps = {key for key in whole if key.startswith(("focal", "dice"))}
    assert all(none[key] == 0 and some[key] != whole[key] for key in of_maps)
    assert all(none[key] == pytest.approx(whole[key]) for key in set(whole) - of_maps)
    torch.stack(list(parts[2].values())).sum().backward()


def test_the_class_token_takes_part_in_the_prompts_of_crane_only_if_it_is_asked_for() -> None:
    features = worded.tower("crane").features(tiny.images(2))
    found = [
        worded.detector("crane", image_context=context).predict_features(features, ["", ""], SharedNoise())
        for context in (False, True)
    ]
    assert (found[0].score_map - found[1].score_map).abs().max() > 1e-4
    other = ImageFeatures(features.cls.flip(0), features.patches, features.grid)
    same = worded.detector("crane").predict_features(other, ["", ""], SharedNoise())
    assert torch.equal(same.score_map, found[0].score_map)


def test_maps_of_crane_average_probabilities_or_logits() -> None:
    patches = tuple(torch.randn(1, 16, tiny.WIDTH) for _ in range(2))
    features = ImageFeatures(torch.randn(1, tiny.WIDTH), patches, (4, 4))
    soft, hard = (
        worded.detector("crane", soft_mean=soft).predict_features(features, [""], SharedNoise(), size=(4, 4)).score_map
        for soft in (True, False)
    )
    layers = [
        worded.detector("crane").predict_features(
            ImageFeatures(features.cls, (one,), (4, 4)), [""], SharedNoise(), size=(4, 4)
        )
        for one in patches
    ]
    maps = torch.stack([layer.score_map for layer in layers])
    torch.testing.assert_close(soft, maps.mean(dim=0))
    torch.testing.assert_close(hard, maps.logit().mean(dim=0).sigmoid())


def test_the_first_patches_alone_shift_the_abnormal_prompts_of_faprompt() -> None:
    model, tower = worded.model("faprompt"), worded.tower("faprompt")
    features = tower.features(tiny.images(2))
    before = model.compare(tower, features)
    patches = features.patches[0].clone()
    patches[:, 10:] = patches[:, 10:].flip(1)
    after = model.compare(tower, ImageFeatures(features.cls, (patches,), features.grid))
    torch.testing.assert_close(after.adapted, before.adapted)
    patches[0, 9] = patches[0, 15]
    after = model.compare(tower, ImageFeatures(features.cls, (patches,), features.grid))
    assert not torch.equal(after.adapted[0, 1:], before.adapted[0, 1:])
    torch.testing.assert_close(after.adapted[:, 0], before.static[:1].expand(2, -1))
    torch.testing.assert_close(after.adapted[1], before.adapted[1])


def test_the_bias_of_faprompt_is_summed_over_normal_images() -> None:
    bias = {}
    for count in (1, 2):
        model, tower = worded.model("faprompt"), worded.tower("faprompt")
        labels = torch.tensor([0] * count + [1])
        truth = Truth(labels, torch.zeros(count + 1, 28, 28), torch.ones(count + 1, dtype=torch.bool))
        features = tower.features(tiny.images(1).expand(count + 1, -1, -1, -1))
        objective = FAPromptObjective(FAPromptTrainOptions())
        stage, source, names = objective.stages[0], torch.Generator(), [""] * (count + 1)
        parts = objective.losses(model, tower, features, names, truth, {}, stage, source)
        bias[count] = float(parts["bias"].detach())
    assert bias[2] == pytest.approx(2 * bias[1])


def test_a_grid_with_too_few_patches_for_the_shift_is_refused() -> None:
    model = find_method("faprompt").model(**(worded.SIZES["faprompt"] | {"selected_patches": 17}))
    with pytest.raises(WeightsError, match=r"17 patches.*has 16"):
        model.check_tower(worded.tower("faprompt"))


def _folder(folder: Path, name: str) -> Path:
    card = WeightsCard(
        name="tiny", method=name, spec=worded.spec(name), clip_name="tiny", clip_config=worded.CONFIG, class_name=""
    )
    save_weights(folder / "tower.safetensors", worded.model(name), card, worded.tower(name).clip)
    return folder


@pytest.mark.parametrize("name", worded.NAMES)
def test_a_training_ends_with_weights_that_bring_what_they_need(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": name, "options": {"deep_prompts": 1, "deep_tokens": 2}, "epochs": 1}
    changes |= {"samples": None, "augment": False, "keep": "last", "hold_out": 0}
    path = train(config(_folder(tmp_path, name), **changes), tmp_path / "out")
    assert path is not None
    card = read_card(path)
    assert (card.method, card.samples, card.spec) == (name, 1, worded.spec(name))
    prediction = load_detector(path).predict(tiny.images(2), ["", ""], SharedNoise())
    assert bool(prediction.score_map.isfinite().all())


def test_a_batch_cut_into_parts_has_the_same_bias_as_a_whole_one(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": "faprompt", "options": {"deep_prompts": 1, "deep_tokens": 2}, "epochs": 1}
    changes |= {"samples": None, "augment": False, "keep": "last", "hold_out": 0, "batch": 32}
    losses = []
    for accumulate in (1, 4):
        out = tmp_path / f"parts-{accumulate}"
        train(config(_folder(tmp_path, "faprompt"), accumulate=accumulate, **changes), out)
        losses.append(json.loads((out / "history.json").read_text())[0]["losses"])
    assert losses[0]["bias"] > 0
    assert losses[1]["bias"] == pytest.approx(losses[0]["bias"], rel=1e-4)
    assert losses[1]["image"] == pytest.approx(losses[0]["image"], rel=1e-4)
