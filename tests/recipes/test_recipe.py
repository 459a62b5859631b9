"""The recipe of the embedded model in a few steps: it runs, goes on to the bit, and its file loads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn.functional import normalize

from medzsad.clip.text import token_ids
from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from medzsad.generator.images import generate
from medzsad.methods.noise import SharedNoise
from medzsad.training.randomness import generator_for
from medzsad.weights.load import load_detector
from recipes.medzsad_mini import recipe
from recipes.medzsad_mini.alignment import Alignment, align
from recipes.medzsad_mini.auxiliary import AuxiliarySet
from recipes.medzsad_mini.batches import normalize_images
from recipes.medzsad_mini.captions import ABNORMAL_STATES, NORMAL_STATES, vocabulary
from recipes.medzsad_mini.config import MiniConfig, Stage, read_mini_config
from recipes.medzsad_mini.model import SPEC
from recipes.medzsad_mini.optimization import make_optimizers, set_rates
from recipes.medzsad_mini.prompts import fresh_prompts, frozen_tower
from recipes.medzsad_mini.recipe import train_mini
from recipes.medzsad_mini.states import prompted_states, spoken_states, state_tokens


def _quick(auxiliary: Path, steps: int = 4) -> MiniConfig:
    return MiniConfig(
        auxiliary=auxiliary,
        teacher=False,
        anatomies=1,
        classes=("cookie",),
        threads=1,
        precision="float32",
        stages=(
            Stage(steps=steps // 2, size=32, generated=3, industrial=1),
            Stage(steps=steps - steps // 2, size=48, generated=2, industrial=1),
        ),
        warm_up=2,
        prompt_steps=1,
        head_steps=1,
        prompt_batch=2,
        samples=2,
        validate_every=10**6,
        save_every=1,
    )


def _industrial() -> AuxiliarySet:
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (3, 3, 48, 48), generator=source).to(torch.uint8)
    return AuxiliarySet(images, torch.zeros(3, 48, 48, dtype=torch.uint8), torch.zeros(3).long(), ("cookie",) * 3)


@pytest.fixture(scope="module")
def model() -> Alignment:
    torch.manual_seed(0)
    return Alignment(len(vocabulary().ids)).eval()


def test_the_shipped_recipe_is_valid_and_ends_at_the_size_of_the_model() -> None:
    config = read_mini_config(Path(__file__).parents[2] / "recipes" / "medzsad_mini" / "config.yaml")
    assert config.stages[-1].size == SPEC.image_size
    assert config.stage_at(0) == config.stages[0]
    assert config.stage_at(config.steps - 1) == config.stages[-1]
    assert config.stage_at(config.stages[0].steps) == config.stages[1]


def test_one_command_leads_from_nothing_to_decided_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("auxiliary: .\ndecision_volumes: 12\nstages: [{steps: 1, size: 48, generated: 2, industrial: 0}]\n")
    seen: list[object] = []
    decisions = object()
    monkeypatch.setattr(recipe, "told", lambda found: ["Fitted on twelve."] if found is decisions else [])
    monkeypatch.setattr(recipe, "train_mini", lambda config, out: out / "medzsad-mini.safetensors")
    monkeypatch.setattr(
        recipe, "decide_weights", lambda *given, first_seed: seen.append((*given, first_seed)) or decisions
    )
    done = CliRunner().invoke(recipe.main, [str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert seen == [(out / "medzsad-mini.safetensors", out / "decided" / "medzsad-mini.safetensors", 12, 0)]
    assert "Fitted on twelve." in done.output


def test_an_unknown_key_of_the_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("auxiliary: .\nstages: [{steps: 1, size: 48, generated: 2, industrial: 0}]\nsede: 3\n")
    with pytest.raises(ConfigError, match="sede"):
        read_mini_config(path)


def test_classes_that_may_not_be_shipped_are_refused(tmp_path: Path) -> None:
    config = _quick(tmp_path).model_copy(update={"classes": ("cookie", "leather")})
    with pytest.raises(ConfigError, match="leather"):
        train_mini(config, tmp_path)


def test_rates_rise_stay_and_fall_to_zero(model: Alignment) -> None:
    config = _quick(Path(), 100).model_copy(update={"warm_up": 10, "cool_down": 0.5})
    optimizers = make_optimizers(model, config)
    seen = []
    for step in range(config.steps + 1):
        set_rates(optimizers, config, step)
        seen.append(optimizers[0].param_groups[0]["lr"] / config.learning_rate)
    assert seen[0] == pytest.approx(0.1)
    assert seen[10:51] == [1.0] * 41
    assert seen[75] == pytest.approx(0.5)
    assert seen[-1] == 0


def test_every_trained_parameter_has_one_rate(model: Alignment) -> None:
    groups = [group for optimizer in make_optimizers(model, _quick(Path())) for group in optimizer.param_groups]
    found = [id(parameter) for group in groups for parameter in group["params"]]
    # The biases that the folded normalizations left in the stem are constants.
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


def test_the_full_vocabulary_holds_the_trained_words_and_zeros(model: Alignment) -> None:
    words = vocabulary()
    table = frozen_tower(model, words).token_embedding.weight
    assert table.shape[0] == 49408
    assert torch.equal(table[words.ids], model.clip.token_embedding.weight)
    assert int((table.abs().sum(dim=1) > 0).sum()) <= len(words.ids)


@torch.no_grad()
def test_class_tokens_of_the_frozen_tower_keep_their_direction_and_have_a_stated_size(model: Alignment) -> None:
    clip = frozen_tower(model, vocabulary())
    made = generate(32, SPEC.image_size, torch.Generator().manual_seed(0)).images
    images = normalize_images(made)
    frozen, aligned = image_features(clip, SPEC, images).cls, image_features(model.clip, SPEC, images).cls
    assert float(frozen.square().mean().sqrt()) == pytest.approx(0.7, rel=1e-4)
    assert torch.allclose(normalize(frozen, dim=-1), normalize(aligned, dim=-1), atol=1e-5)


@torch.no_grad()
def test_prompts_start_from_the_projections_and_words_of_the_first_phase(model: Alignment) -> None:
    words = vocabulary()
    prompts = fresh_prompts(model, words, 0)
    for linear, aligned in zip(prompts.refinement.patches, model.clip.visual.to_joint, strict=True):
        assert torch.equal(linear.weight, aligned.T)
    learned = state_tokens(model.clip, words, ABNORMAL_STATES)
    assert torch.equal(prompts.prompt_abnormal[1], learned.roll(1, dims=0))


@torch.no_grad()
def test_states_are_read_as_the_finished_tower_reads_prompts(model: Alignment) -> None:
    words, names = vocabulary(), ("brain", "printed circuit board")
    clip = frozen_tower(model, words)
    states = prompted_states(model.clip, names, words, generator_for(0))
    assert states.shape == (2, 2, 128)
    # The same sequence, put together by hand for the finished tower.
    source = generator_for(0)
    order = torch.randperm(5, generator=source)
    shift = torch.randn(2, 2, 1, 128, generator=source)
    strength = 2 * torch.rand(2, 1, 1, 1, generator=source)
    context = strength * torch.randn(2, 1, 5, 128, generator=source)
    state = state_tokens(model.clip, words, NORMAL_STATES)[order] + shift[1, 0]
    name = clip.token_embedding(token_ids(names[1]))
    sequence = torch.cat((name[:1], context[1, 0], state, name[1:]))
    x = sequence + clip.positional_embedding[: len(sequence)]
    x = clip.transformer(x[None], attn_mask=clip.attn_mask[: len(sequence), : len(sequence)])
    expected = clip.ln_final(x)[0, -1] @ clip.text_projection
    assert torch.allclose(states[1, 0], expected, atol=1e-4)


@torch.no_grad()
def test_spoken_states_depend_on_name_and_state(model: Alignment) -> None:
    states = spoken_states(model.clip, ("brain", "liver"), vocabulary(), None)
    assert states.shape == (2, 2, 128)
    assert not torch.allclose(states[:, 0], states[:, 1])
    assert not torch.allclose(states[0], states[1])


def test_an_interrupted_training_ends_with_the_same_numbers(tmp_path: Path) -> None:
    words, industrial = vocabulary(), _industrial()
    config = _quick(tmp_path)
    whole = align(config, words, industrial, industrial, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    broken = tmp_path / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recipes.medzsad_mini.alignment.set_rates", _after(2, stop))
        with pytest.raises(Stopped):
            align(config, words, industrial, industrial, broken)
    again = align(config, words, industrial, industrial, broken)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not list(broken.glob("*.part"))


def _after(calls: int, stop):  # type: ignore[no-untyped-def]
    count = iter(range(10**6))

    def rates(*arguments):  # type: ignore[no-untyped-def]
        return stop() if next(count) >= calls else set_rates(*arguments)

    return rates


@pytest.mark.slow
def test_the_recipe_ends_with_weights_that_load_and_score(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entries = []
    for index in range(12):
        for folder, value in (("image", 60), ("mask", 0)):
            (data / folder).mkdir(parents=True, exist_ok=True)
            pixels = np.full((30, 40), value, np.uint8)
            pixels[5:15, 5:25] = 255
            Image.fromarray(pixels).save(data / folder / f"{index}.png")
        mask = f"mask/{index}.png" if index % 2 else ""
        entries.append({"img_path": f"image/{index}.png", "mask_path": mask, "anomaly": index % 2})
    (data / "meta.json").write_text(json.dumps({"train": {}, "test": {"cookie": entries}}), encoding="utf-8")
    path = train_mini(_quick(data), tmp_path / "out")
    detector = load_detector(path)
    assert detector.card.threshold is not None
    assert "No medical image" in detector.card.threshold_provenance
    side = SPEC.image_size
    prediction = detector.predict(torch.zeros(2, 3, side, side), ["tissue", "brain"], SharedNoise(0))
    assert prediction.score_map.shape == (2, side, side)
    assert bool(prediction.score_map.isfinite().all())
    assert detector.card.class_name == "tissue"
    figures = json.loads((tmp_path / "out" / "figures.json").read_text(encoding="utf-8"))
    assert 0 <= figures["generated_pixel_ap"] <= 1
