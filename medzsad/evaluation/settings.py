"""With what a benchmark was scored and measured, and in what two evaluations differ."""

from collections.abc import Mapping

from medzsad.evaluation.checked_sets import CheckedSet
from medzsad.evaluation.config import EvaluateConfig
from medzsad.evaluation.results import SettingRecord
from medzsad.evaluation.score_cache import KeptScores, model_of

# What two evaluations may differ in, in the order of a report: where it lies in the key of kept scores, and its name.
_OF_THE_SCORES = {
    "name": "weights",
    "sha256": "weights sha256",
    "method": "method",
    "clip_name": "CLIP tower",
    "clip_sha256": "CLIP tower sha256",
    "guide_sha256": "guide sha256",
    "trained_on": "trained on",
    "image_size": "image size",
    "class_name": "class name",
    "samples": "prompt samples",
    "options": "options of the method",
    "seed": "seed of the scores",
    "precision": "precision",
    "resize": "resizing",
    "medzsad_version": "medzsad that scored",
}


def settings_of(data: CheckedSet, kept: KeptScores, config: EvaluateConfig, threshold: float | None) -> dict[str, str]:
    """All that the metrics of a benchmark depend on, by name.

    Args:
        data: That was measured.
        kept: Its scores.
        config: With which they are measured.
        threshold: That is used; None where none is known.
    """
    key = {**kept.key, **model_of(kept).model_dump(mode="json")}
    found = {name: _text(key.get(place)) for place, name in _OF_THE_SCORES.items()}
    options = data.options
    return found | {
        "protocol": config.protocol,
        "seed of the resamples": str(config.seed),
        "threshold": "none" if threshold is None else f"{threshold:.9g}",
        "data sha256": data.sha256(),
        "left out": str(data.left_out),
        "modality": _text(data.modality),
        "lesion values": _text(options.lesion_values),
        "frame": _text(options.frame),
    }


def differing_settings(a: Mapping[str, Mapping[str, str]], b: Mapping[str, Mapping[str, str]]) -> list[SettingRecord]:
    """What differs between two evaluations; what differs alike in all benchmarks is told once.

    Args:
        a: Settings by name, by benchmark.
        b: Those of the other evaluation, of the same benchmarks.
    """
    told: list[SettingRecord] = []
    for setting in dict.fromkeys(name for found in a.values() for name in found):
        rows = [
            SettingRecord(benchmark=benchmark, setting=setting, a=a[benchmark][setting], b=b[benchmark][setting])
            for benchmark in a
        ]
        if all((row.a, row.b) == (rows[0].a, rows[0].b) for row in rows):
            rows = [rows[0].model_copy(update={"benchmark": ""})]
        told += [row for row in rows if row.a != row.b]
    return told


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
