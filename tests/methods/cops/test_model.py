"""CoPS: a score depends on its image alone, and what trains the prompts does not train the prototypes."""

import pytest
import torch
from torch import Tensor

from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError
from medzsad.methods.cops.model import CoPSTrainOptions
from medzsad.methods.cops.objective import CoPSObjective
from medzsad.methods.noise import SharedNoise
from medzsad.methods.objective import Truth
from tests import tiny
from tests.methods.cops import tiny_cops


def test_scores_of_a_batch_are_those_of_its_images() -> None:
    detector, images = tiny_cops.detector(), tiny.images(3)
    whole = detector.predict(images, [""] * 3, SharedNoise())
    assert whole.spread is None
    assert whole.score_map.shape == (3, 28, 28)
    for place in range(3):
        one = detector.predict(images[place : place + 1], [""], SharedNoise())
        torch.testing.assert_close(one.score_map[0], whole.score_map[place], atol=1e-6, rtol=0)
        torch.testing.assert_close(one.image_score[0], whole.image_score[place], atol=1e-6, rtol=0)
    assert float(whole.score_map.min()) >= 0
    assert float(whole.score_map.max()) <= 1
    assert len(whole.image_score.unique()) == 3


def test_the_image_score_mixes_probability_and_highest_patch() -> None:
    images = tiny.images(2)
    parts = {share: tiny_cops.detector(probability_share=share) for share in (0.0, 0.9, 1.0)}
    found = {share: one.predict(images, ["", ""], SharedNoise()) for share, one in parts.items()}
    torch.testing.assert_close(found[0.0].image_score, found[0.0].score_map.amax(dim=(1, 2)))
    mixed = 0.9 * found[1.0].image_score + 0.1 * found[0.0].image_score
    torch.testing.assert_close(found[0.9].image_score, mixed)


def test_equal_patches_give_numbers() -> None:
    detector = tiny_cops.detector(neighbors=1)
    same = torch.ones(1, 16, tiny.WIDTH)
    features = ImageFeatures(torch.ones(1, tiny.WIDTH), (same,), (4, 4))
    found = detector.predict_features(features, [""], SharedNoise())
    assert bool(found.score_map.isfinite().all())
    assert bool(found.image_score.isfinite().all())


def test_the_class_name_does_nothing_and_asking_for_one_is_an_error() -> None:
    detector, images = tiny_cops.detector(), tiny.images(1)
    found = [detector.predict(images, [name], SharedNoise()).score_map for name in ("brain", "zipper")]
    assert torch.equal(*found)
    assert detector.word() == ""
    with pytest.raises(ConfigError, match="CoPS uses no class name"):
        detector.word("brain")


@pytest.mark.parametrize("wrong", [{"deep_prompts": 2}, {"deep_tokens": 17}, {"context_tokens": 70}], ids=str)
def test_prompts_that_do_not_fit_the_text_tower_are_refused(wrong: dict[str, int]) -> None:
    found = type(tiny_cops.model())(**(tiny_cops.SIZES | wrong))
    with pytest.raises(ConfigError, match="do not fit the text tower"):
        found.text_features(tiny_cops.tower(), torch.zeros(1, 2, 6, tiny.WIDTH), torch.zeros(1, 1, tiny.WIDTH))


def _losses(has_mask: tuple[bool, bool] = (True, True)) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    model, tower = tiny_cops.model(), tiny_cops.tower()
    model.prepare_training()
    masks = torch.zeros(2, 28, 28)
    masks[1, :9, :15] = 1
    truth = Truth(torch.tensor([0, 1]), masks, torch.tensor(has_mask))
    draws = {"category": torch.randn(2, 1, tiny.WIDTH, generator=torch.Generator().manual_seed(1))}
    objective = CoPSObjective(CoPSTrainOptions(reconstruction_weight=1))
    features = tower.features(tiny.images(2))
    parts = objective.losses(
        model, tower, features, ["", ""], truth, draws, objective.stages[0], torch.Generator().manual_seed(0)
    )
    return model, parts


def _numbers(has_mask: tuple[bool, bool]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in _losses(has_mask)[1].items()}


def _reached(model: torch.nn.Module) -> set[str]:
    return {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }


def test_only_gather_and_scatter_train_the_prototypes_and_nothing_else() -> None:
    model, parts = _losses()
    assert tuple(parts) == CoPSObjective.stages[0].parts
    (parts["gather"] + parts["scatter"]).backward()
    assert _reached(model) == {"query_normal", "query_abnormal", "extractor"}
    model, parts = _losses()
    torch.stack([value for name, value in parts.items() if name not in {"gather", "scatter"}]).sum().backward()
    assert _reached(model) == {"prompt_normal", "prompt_abnormal", "deep", "encoder", "decoder"}


def test_images_without_pixel_label_train_the_image_score_alone() -> None:
    whole, some, none = _numbers((True, True)), _numbers((True, False)), _numbers((False, False))
    assert some["scatter"] == none["scatter"] == none["patch"] == none["gather"] == 0
    assert whole["scatter"] > 0
    assert some["patch"] != whole["patch"]
    for name in ("image", "kl", "reconstruction"):
        assert none[name] == pytest.approx(whole[name])
    _losses((False, False))[1]["patch"].backward()


def test_the_encoder_is_for_training_only() -> None:
    model = tiny_cops.model()
    before = set(model.state_dict())
    model.prepare_training()
    assert {name for name in model.state_dict() if name.startswith("encoder.")}
    assert set(model.inference_state()) == before
