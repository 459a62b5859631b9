"""PILOT-style and human-free-style weights from data to a scored scan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzsad import detect
from medzsad.errors import ConfigError
from medzsad.run.pipeline import load_detector
from medzsad.training.train import train
from medzsad.weights.card import read_card
from medzsad.weights.store import read_weights
from tests.training.tiny_training import config

PILOT: dict[str, Any] = {
    "method": "pilot-style",
    "options": {
        "deep_prompts": 2,
        "prompts": 2,
        "normal_phrases": ["flawless object", "healthy tissue"],
        "abnormal_phrases": ["damaged object", "abnormal tissue"],
    },
}
HUMAN_FREE: dict[str, Any] = {
    "method": "human-free-style",
    "options": {
        "deep_prompts": 2,
        "normal_phrase": "a normal object",
        "abnormal_phrase": "a damaged object",
        "start_words": "a",
    },
    "object_noise": 0.5,
}


def _train(folder: Path, **changes: Any) -> Path:
    plain = {"tower": "medzsad-mini", "samples": None, "epochs": 1, "keep": "last", "hold_out": 0, "phantoms": 2}
    path = train(config(folder, **(plain | changes)), folder / "out")
    assert path is not None
    return path


def test_pilot_style_adapts_to_a_scan_if_asked_to(tmp_path: Path) -> None:
    path = _train(tmp_path, **PILOT)
    scan = np.zeros((40, 40, 5), np.float32)
    scan[8:32, 8:32] = np.random.default_rng(0).normal(100, 15, (24, 24, 5))
    plain, adapted, again = (detect(scan, weights=str(path), adapt=adapt) for adapt in (False, True, True))
    assert not any("adapted" in note for note in plain.notes)
    assert [note for note in adapted.notes if note.startswith("The scores are adapted")]
    assert np.array_equal(adapted.score, again.score)
    assert read_card(path).options["adapt"] is False
    with pytest.raises(ConfigError, match="cannot adapt"):
        load_detector(adapt=True)


def test_human_free_style_learns_from_a_few_sound_images(tmp_path: Path) -> None:
    data = config(tmp_path).data.model_dump(mode="json") | {"shots": 2, "classes": ["nut"]}
    path = _train(tmp_path, **HUMAN_FREE, data=data, batch=2, epochs=2)
    card = read_card(path)
    assert card.provenance["data"]["train"] == {"nut": {"sound": 2, "defects": 0}}
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [epoch["step"] for epoch in history] == [1, 2]
    assert card.spec.window == 0  # the embedded tower has no second stream


def test_guidance_changes_what_is_learned(tmp_path: Path) -> None:
    found = []
    for strength in (0.0, 2.0):
        folder = tmp_path / str(strength)
        options = HUMAN_FREE["options"] | {"guidance": strength}
        found.append(read_weights(_train(folder, **(HUMAN_FREE | {"options": options}))).model.state_dict())
    assert not torch.allclose(found[0]["normal"], found[1]["normal"], atol=1e-5)


def test_object_noise_needs_sound_images_to_train_on(tmp_path: Path) -> None:
    root = config(tmp_path).data.root
    for file in root.rglob("good/*.png"):
        file.unlink()
    with pytest.raises(ConfigError, match="object_noise makes defects on sound images"):
        _train(tmp_path, **HUMAN_FREE)
