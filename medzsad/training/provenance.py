"""What a trained weights file says about its origin; nothing in it depends on the clock or on where files lie."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import torch

from medzsad.datasets.records import Record
from medzsad.methods.base import Method
from medzsad.training.calibrate import Calibration
from medzsad.training.config import TrainConfig
from medzsad.version import __version__
from medzsad.weights.card import WeightsCard
from medzsad.weights.tower import OpenedTower


def data_provenance(layout: str, sha256: str, train: Sequence[Record], held: Sequence[Record]) -> dict[str, Any]:
    """Digest, layout and counts by class of the images trained on and held out."""
    return {"sha256": sha256, "layout": layout, "train": _counts(train), "held_out": _counts(held)}


def _counts(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    sound = Counter(record.class_name for record in records if not record.label)
    defects = Counter(record.class_name for record in records if record.label)
    return {name: {"sound": sound[name], "defects": defects[name]} for name in sorted(sound | defects)}


def best_epochs(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per stage the last epoch that was kept, counted from 0, with its validation metrics."""
    return {
        f"stage_{stage}": {"epoch": kept[-1]["epoch"], "validation": kept[-1]["validation"]}
        for stage in sorted({record["stage"] for record in history})
        if (kept := [record for record in history if record["stage"] == stage and record["improved"]])
    }


def first_card(
    config: TrainConfig, method: Method, opened: OpenedTower, identity: Mapping[str, Any], data: Mapping[str, Any]
) -> WeightsCard:
    """The description of the weights as far as it is known before the first step."""
    provenance = {
        "config": dict(identity),
        "data": dict(data),
        "tower": {"name": opened.name, "sha256": opened.sha256, "license": opened.license},
        "versions": {"medzsad": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
    }
    names = ", ".join(sorted(data["train"]))
    return WeightsCard(
        name=config.name,
        method=method.name,
        spec=opened.tower.spec,
        clip_name=opened.name,
        clip_config=opened.model_config,
        clip_sha256="" if opened.model_config else opened.sha256,
        samples=config.samples or method.samples,
        class_name=config.class_name if method.model.uses_class_names else "",
        license=config.license,
        source=config.source,
        trained_on=f"{names}. Data sha256 {data['sha256'][:12]}.",
        description=config.description,
        provenance=provenance,
    )


def with_unknown_words(card: WeightsCard, words: Sequence[str]) -> WeightsCard:
    """The description that names words for classes which the tower does not know; the same one if there are none."""
    if not words:
        return card
    data = {**card.provenance["data"], "unknown_words": list(words)}
    return card.model_copy(update={"provenance": {**card.provenance, "data": data}})


def finished_card(card: WeightsCard, history: Sequence[Mapping[str, Any]], found: Calibration) -> WeightsCard:
    """The description with the threshold, and with the epochs that were kept."""
    found_out = {"best": best_epochs(history), "epochs": len(history), "threshold": found.metrics}
    update = {
        "threshold": found.threshold,
        "threshold_provenance": found.provenance,
        "normal_scores": found.normal_scores,
        "provenance": {**card.provenance, **found_out},
    }
    return card.model_copy(update=update)
