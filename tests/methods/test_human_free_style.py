"""Human-free-style prompts: the start from words, the meta-prompt, its guidance and refresh."""

import pytest
import torch
from torch.nn.functional import normalize

from medzsad.clip.text import token_ids
from medzsad.errors import ConfigError
from medzsad.methods.human_free_style import (
    HumanFreeStyle,
    HumanFreeStyleObjective,
    HumanFreeStyleTrainOptions,
)
from medzsad.methods.noise import SharedNoise
from medzsad.methods.objective import GuidedObjective
from tests import tiny
from tests.methods import worded

NAME = "human-free-style"


def _fresh(options: HumanFreeStyleTrainOptions) -> HumanFreeStyle:
    tower = worded.tower(NAME)
    torch.manual_seed(1)
    model = HumanFreeStyle(**HumanFreeStyle.sizes_for(tower, options))
    with torch.no_grad():
        model.start_from(tower, options)
    return model


def test_prompts_start_from_words_and_the_meta_prompt_from_phrases() -> None:
    options = HumanFreeStyleTrainOptions(deep_prompts=1)
    tower, model = worded.tower(NAME), _fresh(options)
    words = tower.embed(token_ids("a photo of a")[1:-1])
    for learned in (model.normal, model.abnormal):
        assert torch.equal(learned[-4:], words)
        assert learned[:-4].abs().max() < 0.2
    ids = token_ids("a photo of a damaged object")
    spoken = tower.encode(tower.embed(ids)[None], torch.tensor([len(ids) - 1]))
    torch.testing.assert_close(model.meta[1:], normalize(spoken, dim=-1))


def test_more_words_than_learned_tokens_leave_the_last_ones() -> None:
    model = _fresh(HumanFreeStyleTrainOptions(deep_prompts=1, context_tokens=2))
    words = worded.tower(NAME).embed(token_ids("a photo of a")[1:-1])
    assert torch.equal(model.normal, words[-2:])


def test_unknown_words_are_refused() -> None:
    tower = worded.tower(NAME)
    options = HumanFreeStyleTrainOptions(deep_prompts=1, normal_phrase="a normal hemorrhage")
    with torch.no_grad():
        tower.clip.token_embedding.weight[2000:49000] = 0
        model = HumanFreeStyle(**HumanFreeStyle.sizes_for(tower, options))
        with pytest.raises(ConfigError, match="normal_phrase or abnormal_phrase"):
            model.start_from(tower, options)


def test_the_guide_asks_for_the_predictions_of_the_meta_prompt() -> None:
    options = HumanFreeStyleTrainOptions(deep_prompts=1)
    objective, tower = HumanFreeStyleObjective(options), worded.tower(NAME)
    assert isinstance(objective, GuidedObjective)
    assert objective.guidance == 1.0
    model, features = _fresh(options), tower.features(tiny.images(2))
    assert float(objective.guide_loss(model, tower, features).detach()) > 0
    with torch.no_grad():
        model.meta.copy_(normalize(model.text_embeddings(tower), dim=-1))
    assert float(objective.guide_loss(model, tower, features).detach()) == pytest.approx(0.0, abs=1e-6)


def test_the_meta_prompt_follows_every_so_many_steps() -> None:
    options = HumanFreeStyleTrainOptions(deep_prompts=1, refresh_steps=3, refresh_rate=0.25)
    objective, tower, model = HumanFreeStyleObjective(options), worded.tower(NAME), _fresh(options)
    before = model.meta.clone()
    for step in (1, 2, 4):
        objective.after_step(model, tower, step)
        assert torch.equal(model.meta, before)
    objective.after_step(model, tower, 3)
    student = normalize(model.text_embeddings(tower).detach(), dim=-1)
    torch.testing.assert_close(model.meta, normalize(0.75 * before + 0.25 * student, dim=-1))
    never = HumanFreeStyleObjective(options.model_copy(update={"refresh_steps": 0}))
    before = model.meta.clone()
    never.after_step(model, tower, 3)
    assert torch.equal(model.meta, before)


def test_the_image_score_takes_in_the_map_if_asked_to() -> None:
    images = tiny.images(2)
    plain, mixed = (
        worded.detector(NAME, image_from_map=asked).predict(images, ["", ""], SharedNoise()) for asked in (False, True)
    )
    assert torch.equal(plain.score_map, mixed.score_map)
    torch.testing.assert_close(mixed.image_score, (plain.image_score + plain.score_map.amax(dim=(1, 2))) / 2)
