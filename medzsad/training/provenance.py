"""What a trained weights file says about its origin; nothing in it depends on the clock or on where files lie."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import torch

from medzsad.datasets.records import Record
from medzsad.methods.metadata import WeightsMetadata
from medzsad.training.calibrate import Calibration
from medzsad.training.config import TrainConfig
from medzsad.training.tower import Tower
from medzsad.version import __version__


def data_provenance(layout: str, sha256: str, train: Sequence[Record], held: Sequence[Record]) -> dict[str, Any]:
    """Digest, layout and counts by class of the images trained on and held out."""
    return {"sha256": sha256, "layout": layout, "train": _counts(train), "held_out": _counts(held)}


def _counts(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    sound = Counter(record.class_name for record in records if not record.label)
    defects = Counter(record.class_name for record in records if record.label)
    return {name: {"sound": sound[name], "defects": defects[name]} for name in sorted(sound | defects)}


def best_epochs(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per stage the last epoch that was kept, counted from 0, with its validation figures."""
    return {
        f"stage_{stage}": {"epoch": kept[-1]["epoch"], "validation": kept[-1]["validation"]}
        for stage in (1, 2)
        if (kept := [record for record in history if record["stage"] == stage and record["improved"]])
    }


def describe(
    config: TrainConfig,
    tower: Tower,
    identity: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    data: Mapping[str, Any],
    stage: int,
    found: Calibration | None = None,
) -> WeightsMetadata:
    """The description of the weights; without `found` the threshold is left open."""
    provenance = {
        "config": dict(identity),
        "data": dict(data),
        "tower": {"name": tower.name, "sha256": tower.sha256, "licence": tower.licence},
        "versions": {"medzsad": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
        "best": best_epochs(history),
        "epochs": len(history),
        "threshold": found.figures if found else {},
    }
    names = ", ".join(sorted(data["train"]))
    return WeightsMetadata(
        name=config.name,
        spec=tower.spec,
        clip_name=tower.name,
        clip_config=tower.model_config,
        clip_sha256="" if tower.model_config else tower.sha256,
        stage=stage,
        samples=config.samples,
        class_name=config.class_name,
        threshold=found.threshold if found else None,
        threshold_provenance=found.provenance if found else "",
        licence=config.licence,
        source=config.source,
        trained_on=f"{names}. Data sha256 {data['sha256'][:12]}.",
        description=config.description,
        provenance=provenance,
    )
