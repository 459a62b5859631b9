"""Two models on the same data: differences of their metrics with paired intervals."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from medzsad.errors import ConfigError
from medzsad.evaluation.config import EvaluateConfig, earlier_options, earlier_versions, make_evaluate_config
from medzsad.evaluation.evaluate import ScoredSet, known_threshold, measure, measuring_protocol, scored_sets
from medzsad.evaluation.measurement import Measured
from medzsad.evaluation.results import DifferenceRecord, ModelComparison, SettingRecord
from medzsad.evaluation.settings import differing_settings, settings_of
from medzsad.metrics.metric import Metric, interval
from medzsad.progress import Observer, Silent
from medzsad.version import __version__

Kind = Literal["pictures", "volumes"]


def compare_evaluations(a: Path, b: Path, observer: Observer | None = None) -> ModelComparison:
    """The metrics of two evaluations of the same data, with the differences b - a.

    Both are measured again from their kept scores. Subjects are resampled alike for both, so that what the data do to
    both models cancels out in the intervals of the differences.

    Args:
        a: Folder of results.
        b: Another one, of the same benchmarks under the same protocol and seed.
        observer: Receives the progress events.

    Raises:
        ConfigError: A folder holds no results, or the two are not of the same data, protocol and seed.
    """
    observer = observer or Silent()
    configs = [kept_config(folder) for folder in (a, b)]
    for key in ("protocol", "seed"):
        values = [getattr(config, key) for config in configs]
        if values[0] != values[1]:
            raise ConfigError(
                f"{a} was evaluated with {key} {values[0]}, {b} with {values[1]}: they cannot be compared. "
                "Evaluate both alike; --scores-from does it without the model where the resizing is the same."
            )
    sets = [
        {one.data.options.called: one for one in scored_sets(config, folder, observer)}
        for config, folder in zip(configs, (a, b), strict=True)
    ]
    common = [name for name in sets[0] if name in sets[1]]
    if not common:
        raise ConfigError(f"{a} holds {', '.join(sets[0])}, {b} holds {', '.join(sets[1])}: nothing in common.")
    rows = []
    for name in common:
        observer.note(f"{name}: measuring both")
        rows += list(_differences(name, sets[0][name], sets[1][name], configs, observer))
    protocol = measuring_protocol(configs[0], sets[0][common[0]].model)
    return ModelComparison(
        medzsad_version=__version__,
        a=sets[0][common[0]].model,
        b=sets[1][common[0]].model,
        protocol=protocol.name,
        protocol_text=protocol.describe(),
        seed=configs[0].seed,
        rows=tuple(rows),
        differing=tuple(_differing(common, sets, configs, (a, b))),
    )


def _differing(
    names: Sequence[str],
    sets: Sequence[Mapping[str, ScoredSet]],
    configs: Sequence[EvaluateConfig],
    folders: tuple[Path, Path],
) -> list[SettingRecord]:
    """Settings of the benchmarks in which the two differ, then versions of libraries."""
    a, b = (
        {
            name: settings_of(one[name].data, one[name].kept, config, known_threshold(config, one[name].model)[0])
            for name in names
        }
        for one, config in zip(sets, configs, strict=True)
    )
    versions = [earlier_versions(folder) for folder in folders]
    libraries = [
        SettingRecord(benchmark="", setting=name, a=versions[0].get(name, ""), b=versions[1].get(name, ""))
        for name in dict.fromkeys([*versions[0], *versions[1]])
    ]
    return [*differing_settings(a, b), *(row for row in libraries if row.a != row.b)]


def kept_config(folder: Path) -> EvaluateConfig:
    """The options of an earlier evaluation, so that its kept scores are measured again without the model.

    Args:
        folder: Of its results.

    Raises:
        ConfigError: It holds no results.
    """
    options = earlier_options(folder)
    source = options.get("scores_from")
    return make_evaluate_config({**options, "scores_from": source or folder}, str(folder / "results.json"))


def _differences(
    name: str, a: ScoredSet, b: ScoredSet, configs: list[EvaluateConfig], observer: Observer
) -> Iterator[DifferenceRecord]:
    measured = [measure(one, config, observer) for one, config in zip((a, b), configs, strict=True)]
    if measured[0].units != measured[1].units:
        other = set(measured[0].units) ^ set(measured[1].units)
        told = f"{len(other)} images are in one only, first {min(other)}" if other else "their order differs"
        raise ConfigError(
            f"{name}: the two evaluations are not of the same images ({told}). Evaluate both again on the same data."
        )
    first, second = (_tables(one) for one in measured)
    for group, metrics in first.items():
        for key, metric in metrics.items():
            yield _row((name, group, a.data.kind), key, metric, second[group][key])


def _tables(measured: Measured) -> dict[str, Mapping[str, Metric]]:
    tables = {one.record.name: one.metrics for one in measured.classes}
    return {**tables, "mean": measured.mean} if len(tables) > 1 else tables


def _row(names: tuple[str, str, Kind], key: str, a: Metric, b: Metric) -> DifferenceRecord:
    difference = None if a.value is None or b.value is None else b.value - a.value
    ends = interval(b.resamples - a.resamples) if a.resamples.size and b.resamples.size else None
    low, high = ends if ends is not None and difference is not None else (None, None)
    return DifferenceRecord(
        benchmark=names[0],
        name=names[1],
        kind=names[2],
        metric=key,
        a=a.value,
        b=b.value,
        difference=difference,
        low=low,
        high=high,
        reason=a.reason or b.reason,
    )
