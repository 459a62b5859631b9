"""Options of a training that take other ways through it."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medzsad.datasets.records import Record
from medzsad.training.features import FeatureSource
from medzsad.training.train import train
from medzsad.weights.card import read_card
from tests.training.tiny_training import config, write_pictures


def _history(out: Path) -> list[dict[str, dict[str, float]]]:
    found: list[dict[str, dict[str, float]]] = json.loads((out / "history.json").read_text(encoding="utf-8"))
    return found


def test_a_log_for_tensorboard_holds_every_epoch(tmp_path: Path) -> None:
    train(config(tmp_path, tensorboard=True, epochs=2), tmp_path / "out")
    log = EventAccumulator(str(tmp_path / "out" / "board")).Reload()
    assert len(log.Scalars("validation/pixel_ap")) == 2
    assert log.Scalars("losses/dice")[0].value == pytest.approx(
        _history(tmp_path / "out")[0]["losses"]["dice"], rel=1e-5
    )
    assert log.Images("validation")


def test_legacy_validation_chooses_on_the_other_data_and_gives_no_image_to_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_pictures(tmp_path / "other", per_label=2)
    validated: set[Path] = set()
    build = FeatureSource.__init__

    def watched(self: FeatureSource, tower: object, records: list[Record], root: Path, **rest: object) -> None:
        if rest.get("change") is None:
            validated.update(record.image for record in records)
        build(self, tower, records, root, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureSource, "__init__", watched)
    legacy = {"root": str(other), "layout": "mvtec", "classes": ["nut"]}
    path = train(config(tmp_path, legacy_validation=legacy, epochs=1), tmp_path / "out")
    assert path is not None
    assert len(validated) == 4
    assert all(image.is_relative_to(other / "nut") for image in validated)
    assert "no normal auxiliary image" in read_card(path).threshold_provenance


def test_the_legacy_divergence_and_bfloat16_give_other_weights(tmp_path: Path) -> None:
    plain, divergence, rough = (
        train(config(tmp_path, epochs=1, **change), tmp_path / name)
        for name, change in (
            ("plain", {}),
            ("kl", {"options": {"bank": 2, "flows": 2, "legacy_kl": True}}),
            ("rough", {"precision": "bfloat16"}),
        )
    )
    assert plain is not None
    assert divergence is not None
    assert rough is not None
    first, second, third = (_history(path.parent)[0]["losses"] for path in (plain, divergence, rough))
    assert first["kl_context"] == pytest.approx(second["kl_context"], rel=1e-2)
    assert first["kl_normal"] != pytest.approx(second["kl_normal"], rel=1e-3)
    assert first["dice"] == pytest.approx(third["dice"], rel=2e-2)
    assert first["dice"] != third["dice"]
