"""A training of CoPS on a tiny random transformer: interrupted and gone on with, its bytes are the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import build_tower
from medzsad.methods.noise import SharedNoise
from medzsad.training.train import train
from medzsad.weights.card import WeightsCard, read_card
from medzsad.weights.imported import write_imported
from medzsad.weights.load import load_detector
from medzsad.weights.store import save_weights
from tests import tiny
from tests.methods.cops import tiny_cops
from tests.methods.cops.test_importer import official
from tests.training.test_train import InterruptAt
from tests.training.tiny_training import config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory.mktemp("cops"), tiny.CONFIG, tiny_cops.SPEC)


def _folder(folder: Path, model: dict[str, Any], spec: TowerSpec) -> Path:
    card = WeightsCard(name="tiny", method="cops", spec=spec, clip_name="tiny-tower", clip_config=model, class_name="")
    clip = tiny.tower(spec)
    save_weights(folder / "tower.safetensors", tiny_cops.model(), card, clip)
    return folder


def _options(**changes: Any) -> dict[str, Any]:
    options = {"deep_prompts": 1, "deep_tokens": 2, "reconstruction_weight": 0.01}
    return {"method": "cops", "options": options, "epochs": 2, "augment": False} | changes


@pytest.mark.parametrize("changes", [{"keep": "last", "hold_out": 0}, {"keep": "best"}], ids=["last", "best"])
def test_interrupted_and_resumed_weights_are_the_same_bytes(
    folder: Path, tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    chosen = config(folder, **_options(**changes))
    whole = train(chosen, tmp_path / "whole")
    assert whole is not None
    with pytest.raises(KeyboardInterrupt):
        train(chosen, tmp_path / "stopped", InterruptAt(3))
    state = torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)
    assert "encoder.mean.weight" in state["model"]
    again = train(chosen, tmp_path / "stopped")
    assert again is not None
    assert again.read_bytes() == whole.read_bytes()
    with safe_open(whole, "pt") as file:
        assert not [name for name in file.keys() if "encoder" in name]  # noqa: SIM118
    card = read_card(whole)
    assert (card.method, card.class_name, card.samples) == ("cops", "", 2)
    assert card.provenance["epochs"] == 2
    prediction = load_detector(whole).predict(tiny.images(2), ["", ""], SharedNoise())
    assert bool(prediction.score_map.isfinite().all())


def test_where_files_lie_is_not_told(folder: Path, tmp_path: Path) -> None:
    chosen = config(folder, **_options(epochs=1, start=str(folder / "tower.safetensors")))
    path = train(chosen, tmp_path / "out")
    assert path is not None
    text = read_card(path).to_json()
    assert str(folder) not in text
    assert read_card(path).provenance["config"]["start"] == "tower.safetensors"


def test_imported_weights_are_trained_further_with_a_new_encoder(folder: Path, tmp_path: Path) -> None:
    state = {name: value for name, value in official(72).items() if not name.startswith("compound")}
    torch.save({"prompt_learner": state}, tmp_path / "epoch_10.pth")
    spec = tiny_cops.SPEC
    write_imported(tmp_path / "epoch_10.pth", tmp_path / "imported.safetensors", spec=spec)
    wide = _wide_tower(tmp_path, spec)
    chosen = config(
        folder,
        **_options(epochs=1, start=str(tmp_path / "imported.safetensors"), tower=str(wide), layers=[3], image_size=28),
    )
    path = train(chosen, tmp_path / "out")
    assert path is not None
    before, after = read_card(tmp_path / "imported.safetensors"), read_card(path)
    assert after.sizes == before.sizes
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(chosen, stopped, InterruptAt(1))
    again = train(chosen, stopped)
    assert again is not None
    assert again.read_bytes() == path.read_bytes()


def _wide_tower(folder: Path, spec: TowerSpec) -> Path:
    """A tower whose text side is as wide as twelve heads ask for."""
    model = tiny.CONFIG | {"embed_dim": 72, "text_cfg": tiny.CONFIG["text_cfg"] | {"width": 72}}
    torch.manual_seed(0)
    torch.save(build_tower(model, spec).state_dict(), folder / "wide.pt")
    return folder / "wide.pt"
