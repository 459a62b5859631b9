"""The other methods learn their prompts on the embedded tower, whose features are read as they are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.files import file_sha256
from medzsad.methods.noise import SharedNoise
from medzsad.methods.registry import find_method
from medzsad.training.train import train
from medzsad.weights.card import read_card
from medzsad.weights.load import load_detector
from medzsad.weights.store import resolve_weights, rewrite_card
from medzsad.weights.tower import load_tower, open_tower
from tests.training.tiny_training import config

OPTIONS: dict[str, dict[str, int]] = {
    "cops": {"deep_prompts": 2},
    "anomalyclip": {"deep_prompts": 2},
    "crane": {"deep_prompts": 2},
    "faprompt": {"deep_prompts": 2},
}


def _images(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_embedded_tower_keeps_its_own_attention_and_layers(name: str) -> None:
    own = open_tower("medzsad-mini", find_method("bayes_pfl").spec).tower.spec
    found = open_tower("medzsad-mini", find_method(name).spec)
    assert found.model_config == {}
    spec = found.tower.spec
    assert (spec.layers, spec.attention, spec.image_size, spec.activation) == (
        own.layers,
        "plain",
        own.image_size,
        own.activation,
    )
    assert (own.patch_post, spec.patch_post) == ("raw", "projected")
    features = found.tower.features(_images(1, spec.image_size))
    assert all(patches.shape[-1] == found.tower.joint_width for patches in features.patches)


@pytest.mark.parametrize("name", ["crane", "cops"])
def test_prompts_learned_on_the_embedded_tower_score(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": name, "options": OPTIONS[name], "tower": "medzsad-mini", "epochs": 1}
    changes |= {"samples": None, "augment": False, "keep": "last", "hold_out": 0, "phantoms": 2}
    path = train(config(tmp_path, **changes), tmp_path / "out")
    assert path is not None
    card = read_card(path)
    assert (card.method, card.clip_name, card.spec.patch_post) == (name, "medzsad-mini", "projected")
    embedded = resolve_weights("medzsad-mini")
    assert (card.clip_config, card.clip_sha256) == ({}, file_sha256(embedded))
    assert path.stat().st_size < 1e6  # the prompts alone
    detector = load_detector(path)
    prediction = detector.predict(_images(2, card.spec.image_size), [card.class_name] * 2, SharedNoise())
    assert bool(prediction.score_map.isfinite().all())
    assert float(prediction.score_map.std()) > 0


def test_the_tower_of_embedded_weights_is_found_by_their_name() -> None:
    spec = find_method("crane").spec
    opened = open_tower("medzsad-mini", spec)
    clip, sha256 = load_tower("medzsad-mini", opened.tower.spec)
    assert sha256 == opened.sha256
    images = _images(1, opened.tower.spec.image_size)
    again = Tower(clip, opened.tower.spec).features(images)
    assert torch.equal(again.cls, opened.tower.features(images).cls)


def test_weights_of_the_same_name_in_the_cache_are_not_taken_for_the_embedded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    embedded = resolve_weights("medzsad-mini")
    other = tmp_path / "medzsad-mini.safetensors"
    rewrite_card(embedded, other, {"description": "another"})
    opened = open_tower("medzsad-mini", find_method("crane").spec)
    assert opened.sha256 == file_sha256(other)
    assert opened.model_config["vision_cfg"]["kind"] == "hybrid"  # they have to bring their tower
    assert load_tower("medzsad-mini", opened.tower.spec)[1] == file_sha256(embedded)
