"""The recipe of the embedded model on a few seconds of time: it runs, resumes, and its file loads."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from medzsad.methods.load import load_detector
from medzsad.methods.noise import SharedNoise
from medzsad.training.embedded.alignment import Alignment, align
from medzsad.training.embedded.auxiliary import AuxiliarySet
from medzsad.training.embedded.captions import vocabulary
from medzsad.training.embedded.config import MiniConfig, Stage, read_mini_config
from medzsad.training.embedded.model import vision_features
from medzsad.training.embedded.prompts import SPEC, fresh_prompts, frozen_tower
from medzsad.training.embedded.recipe import train_mini


def _quick(auxiliary: Path, minutes: float) -> MiniConfig:
    return MiniConfig(
        auxiliary=auxiliary,
        classes=("cookie",),
        threads=1,
        bfloat16=False,
        alignment_minutes=minutes,
        stages=(Stage(until=1, size=48, generated=3, industrial=1),),
        prompt_minutes=minutes,
        head_minutes=minutes,
        prompt_batch=2,
        samples=2,
        validate_every=1e6,
        save_every=1e6,
    )


def _industrial() -> AuxiliarySet:
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (3, 3, 48, 48), generator=source).to(torch.uint8)
    return AuxiliarySet(images, torch.zeros(3, 48, 48, dtype=torch.uint8), torch.zeros(3).long(), ("cookie",) * 3)


@pytest.fixture(scope="module")
def model() -> Alignment:
    torch.manual_seed(0)
    return Alignment(len(vocabulary().ids)).eval()


def test_the_shipped_recipe_is_valid() -> None:
    config = read_mini_config(Path(__file__).parents[2] / "configs" / "train_mini.yaml")
    patch = 12
    assert all(stage.size % patch == 0 for stage in config.stages)
    assert config.stages[-1].size == SPEC.image_size


def test_an_unknown_key_of_the_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("auxiliary: .\nstages: [{until: 1, size: 48, generated: 2, industrial: 0}]\nsede: 3\n")
    with pytest.raises(ConfigError, match="sede"):
        read_mini_config(path)


def test_classes_that_may_not_be_shipped_are_refused(tmp_path: Path) -> None:
    config = _quick(tmp_path, 0.01).model_copy(update={"classes": ("cookie", "leather")})
    with pytest.raises(ConfigError, match="leather"):
        train_mini(config, tmp_path)


def test_features_while_learning_are_those_of_the_finished_tower(model: Alignment) -> None:
    clip = frozen_tower(model, vocabulary())
    images = torch.randn(2, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        finished = image_features(clip, SPEC, images)
        cls, patches = vision_features(model.clip, images)
    assert torch.allclose(cls, finished.cls, atol=1e-4)
    for one, other in zip(patches, finished.patches, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_the_full_vocabulary_holds_the_trained_words_and_zeros(model: Alignment) -> None:
    words = vocabulary()
    table = frozen_tower(model, words).token_embedding.weight
    assert table.shape[0] == 49408
    assert torch.equal(table[words.ids], model.clip.token_embedding.weight)
    assert int((table.abs().sum(dim=1) > 0).sum()) <= len(words.ids)


def test_prompts_start_from_the_aligned_projections(model: Alignment) -> None:
    prompts = fresh_prompts(model, vocabulary(), 0)
    for linear, aligned in zip(prompts.refinement.patches, model.to_joint, strict=True):
        assert torch.equal(linear.weight, aligned.weight)


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    words, industrial = vocabulary(), _industrial()
    align(_quick(tmp_path, 0.01), words, industrial, industrial, tmp_path)
    before = torch.load(tmp_path / "alignment.pt", weights_only=True)
    again = align(_quick(tmp_path, 0.01), words, industrial, industrial, tmp_path)
    assert all(torch.equal(value, before["shadow"][name]) for name, value in again.state_dict().items())
    align(_quick(tmp_path, 0.02), words, industrial, industrial, tmp_path)
    after = torch.load(tmp_path / "alignment.pt", weights_only=True)
    assert after["progress"][0] > before["progress"][0]
    assert after["progress"][1] > before["progress"][1] > 0
    assert not list(tmp_path.glob("*.part"))


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
    path = train_mini(_quick(data, 0.02), tmp_path / "out")
    detector = load_detector(path)
    assert detector.info.threshold is not None
    assert "No medical image" in detector.info.threshold_provenance
    prediction = detector.predict(
        torch.zeros(2, 3, SPEC.image_size, SPEC.image_size), ["tissue", "brain"], SharedNoise(0)
    )
    assert prediction.score_map.shape == (2, SPEC.image_size, SPEC.image_size)
    assert bool(prediction.score_map.isfinite().all())
    assert dataclasses.asdict(detector.info)["class_name"] == "tissue"
