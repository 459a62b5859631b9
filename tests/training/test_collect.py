"""A method that learns nothing by steps gets its weights from one pass over the images."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from medzsad.cli import main
from medzsad.clip.tower import Tower
from medzsad.errors import ConfigError
from medzsad.methods.noise import SharedNoise
from medzsad.methods.registry import find_method
from medzsad.progress import Silent
from medzsad.training import collect as module
from medzsad.training.config import TrainConfig, make_train_config
from medzsad.training.distributed import World
from medzsad.training.train import train
from medzsad.weights.card import read_card
from medzsad.weights.load import load_detector
from medzsad.weights.store import read_weights
from tests import tiny
from tests.training import tiny_training

_OF_STEPS = ("batch", "epochs", "validation_samples", "samples", "save_seconds", "options")


def _config(folder: Path, **changes: Any) -> TrainConfig:
    """The tiny training without what only steps need."""
    plain = {name: value for name, value in tiny_training.options(folder).items() if name not in _OF_STEPS}
    return make_train_config(plain | {"method": "mrad", "layers": [3], "image_size": 28, **changes}, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collect")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    path = train(_config(folder), folder / "whole")
    assert path is not None
    return path


def test_the_weights_load_and_score(whole: Path) -> None:
    detector = load_detector(whole)
    assert isinstance(detector.card.threshold, float)
    prediction = detector.predict(tiny.images(2), ["", ""], SharedNoise())
    assert prediction.score_map.shape == (2, 28, 28)
    assert float(prediction.score_map.std()) > 0
    assert 0 < float(prediction.image_score.min()) < float(prediction.image_score.max()) < 1


def test_the_card_and_the_history_say_what_was_remembered(whole: Path) -> None:
    card = read_card(whole)
    assert card.sizes == {"width": 64, "patch_width": 32, "image_keys": 24, "patch_keys": 36}
    assert (card.class_name, card.samples) == ("", 1)
    assert card.options == {"image_share": 0.7, "top_share": 0.01, "smooth_pixels": 4.0}
    assert card.provenance["data"]["train"] == {name: {"sound": 6, "defects": 6} for name in ("nut", "cloth")}
    assert card.provenance["epochs"] == 1
    assert 0 < card.provenance["best"]["stage_1"]["validation"]["pixel_ap"] <= 1
    assert "2 generated healthy phantoms" in card.threshold_provenance
    (record,) = json.loads((whole.parent / "history.json").read_text(encoding="utf-8"))
    assert record["validation"] == card.provenance["best"]["stage_1"]["validation"]
    assert {path.name for path in whole.parent.iterdir()} == {"weights.safetensors", "history.json"}
    assert str(whole.parent) not in card.to_json()


def test_the_same_images_give_the_same_bytes(folder: Path, whole: Path) -> None:
    again = train(_config(folder, workers=2), folder / "again")
    assert again is not None
    assert again.read_bytes() == whole.read_bytes()


def test_kept_features_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = _config(folder, cache={"variants": 1, "folder": "kept"})
    first = train(chosen, folder / "kept-1")
    assert first is not None
    computed = []
    features = Tower.features
    monkeypatch.setattr(
        Tower, "features", lambda self, images, *rest: computed.append(len(images)) or features(self, images, *rest)
    )
    second = train(chosen.model_copy(update={"phantoms": 2}), folder / "kept-2")
    assert second is not None
    assert second.read_bytes() == first.read_bytes()
    assert sum(computed) == 4 + 2  # normal held-out images and phantoms, for the threshold


def test_a_second_run_returns_at_once_and_other_options_are_refused_by_name(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.stat().st_mtime_ns
    monkeypatch.setattr(module, "_collect", lambda *_: pytest.fail("collected again"))
    assert train(_config(folder), whole.parent) == whole
    assert whole.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"holds other weights.*seed \(was 333, now 4\)"):
        train(_config(folder, seed=4), whole.parent)
    with pytest.raises(ConfigError, match="options"):
        train(_config(folder, options={"image_share": 0.5}), whole.parent)


def test_a_folder_with_another_training_is_refused(folder: Path) -> None:
    assert train(tiny_training.config(folder, max_minutes=1e-9), folder / "paused") is None
    with pytest.raises(ConfigError, match=r"method \(was 'bayes_pfl', now 'mrad'\)"):
        train(_config(folder), folder / "paused")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 3, "keep": "last"}, "epochs, keep"),
        ({"start": "medzsad-mini"}, "start"),
        ({"accumulate": 2, "patience": 1}, "accumulate, patience"),
        ({"validation_samples": 2, "samples": 2}, "validation_samples, samples"),
        ({"augment": False, "mosaic": 0.5}, "augment, mosaic"),
        ({"save_seconds": 1, "max_minutes": 1, "tensorboard": True}, "save_seconds, max_minutes, tensorboard"),
        ({"legacy_validation": {"root": "x"}}, "legacy_validation"),
        ({"cache": {"variants": 2}}, "cache.variants above 1"),
    ],
)
def test_options_that_would_do_nothing_are_refused(folder: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"MRAD-TF learns nothing by steps.*: {named}\."):
        train(_config(folder, **changes), folder / "refused")


def test_a_wrong_option_of_the_method_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'image_shares'.*'image_share'"):
        train(_config(folder, options={"image_shares": 1}), folder / "refused")


def test_nothing_need_be_held_out(folder: Path) -> None:
    path = train(_config(folder, hold_out=0), folder / "all")
    assert path is not None
    assert read_card(path).sizes["image_keys"] == 32
    (record,) = json.loads((path.parent / "history.json").read_text(encoding="utf-8"))
    assert (record["validation"], record["by_class"]) == ({}, {})


def test_a_memory_on_the_embedded_tower_holds_its_keys_alone(folder: Path) -> None:
    path = train(_config(folder, tower="medzsad-mini", image_size=None), folder / "embedded")
    assert path is not None
    card = read_card(path)
    assert (card.clip_name, card.clip_config, card.spec.layers, card.spec.patch_post) == (
        "medzsad-mini",
        {},
        (3,),
        "raw",
    )
    assert path.stat().st_size < 1e5
    side = card.spec.image_size
    prediction = load_detector(path).predict(torch.randn(1, 3, side, side), [""], SharedNoise())
    assert bool(prediction.score_map.isfinite().all())


def test_of_several_processes_the_first_collects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_collect", lambda *_: pytest.fail("collected"))
    monkeypatch.setattr(World, "share", lambda self, value: value)
    config, out = _config(folder), folder / "second"
    path = module.collect(config, find_method("mrad"), out, World(1, 2, torch.device("cpu")), Silent())
    assert path == out / "weights.safetensors"
    assert not out.exists()


def test_the_weights_are_verified_and_the_method_is_listed_as_trainable(whole: Path) -> None:
    done = CliRunner().invoke(main, ["weights", "verify", str(whole)])
    assert done.exit_code == 0, done.output
    numbers = sum(value.numel() for value in read_weights(whole).model.inference_state().values())
    assert f"{numbers} numbers" in done.output
    records = json.loads(CliRunner().invoke(main, ["methods", "--json"]).stdout)
    (record,) = [one for one in records if one["name"] == "mrad"]
    assert (record["trainable"], record["imported"], record["fidelity"]) == (True, False, "reconstruction")
