"""Several weights on the same data: each evaluated, then one table with paired intervals, and the same images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medzsad.datasets.pictures import decode_image, record_mask, strict_pillow
from medzsad.datasets.records import Record
from medzsad.drawing.side_by_side import ScoredImage, side_by_side_sheet
from medzsad.errors import ConfigError
from medzsad.evaluation.compare import compare_evaluations, kept_config
from medzsad.evaluation.config import EvaluateConfig
from medzsad.evaluation.evaluate import ScoredSet, evaluate, known_threshold, scored_sets
from medzsad.evaluation.pictures import ScoredPictures
from medzsad.evaluation.protocol import compared_map, find_protocol
from medzsad.evaluation.report import write_several_report
from medzsad.evaluation.results import SeveralComparison
from medzsad.files import write_bytes_atomic
from medzsad.progress import Observer, Silent

_SHOWN = {1: 4, 0: 2}  # images of each label in a picture


def evaluate_several(
    config: EvaluateConfig, weights: Sequence[str], out: Path, observer: Observer | None = None
) -> SeveralComparison:
    """The metrics of several weights on the same benchmarks, each compared with the first.

    Every one is evaluated into a folder of its name in `out`, as `evaluate` does and goes on after an interruption.
    Then comparison.json, comparison.csv and comparison.html are written to `out`, and for each benchmark of pictures
    BENCHMARK.png: the same images under all of them. The images are spread evenly over the data, whatever the scores.

    Args:
        config: What is evaluated; its weights are replaced.
        weights: Two or more names or files.
        out: Folder for the results.
        observer: Receives the progress events.

    Raises:
        ConfigError: Two weights have the same name, or as `evaluate` and `compare_evaluations`.
        WeightsError: Weights are missing or damaged.
        ScoringError: A model returned a score that is not finite.
        OutputError: The folder cannot be written.
    """
    observer = observer or Silent()
    folders = {name: out / name for name in _names(weights)}
    for (name, folder), one in zip(folders.items(), weights, strict=True):
        observer.note(f"weights {name}")
        evaluate(config.model_copy(update={"weights": one}), folder, observer)
    first, *others = folders.values()
    comparisons = tuple(compare_evaluations(first, other, observer) for other in others)
    found = SeveralComparison(
        medzsad_version=comparisons[0].medzsad_version, weights=tuple(folders), comparisons=comparisons
    )
    write_several_report(out, found, _pictures(folders, out))
    return found


def _names(weights: Sequence[str]) -> list[str]:
    """A folder name of each: its own name, or that of its file."""
    names = [Path(one).name.removesuffix(".safetensors") for one in weights]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Two weights are called {twice[0]}: their results would share a folder. Rename one of them.")
    return names


def _pictures(folders: Mapping[str, Path], out: Path) -> dict[str, Path]:
    configs = {name: kept_config(folder) for name, folder in folders.items()}
    sets = {name: scored_sets(config, folders[name], Silent()) for name, config in configs.items()}
    found = {}
    for place, one in enumerate(next(iter(sets.values()))):
        if one.data.pictures is None:
            continue
        called = one.data.options.called
        found[called] = out / f"{called}.png"
        scored = {name: parts[place] for name, parts in sets.items()}
        thresholds = [known_threshold(configs[name], scored[name].model)[0] for name in scored]
        with strict_pillow():
            images = _images(list(scored.values()), configs[next(iter(configs))])
        write_bytes_atomic(found[called], side_by_side_sheet(list(scored), thresholds, images))
    return found


def _images(scored: Sequence[ScoredSet], config: EvaluateConfig) -> list[ScoredImage]:
    data = scored[0].data.pictures
    assert data is not None
    protocol = find_protocol(config.protocol).on_own_grid()
    readers = [ScoredPictures(data.root, data.records, one.kept, protocol, classification=False) for one in scored]
    images = []
    for record in _spread(data.records):
        image = np.asarray(decode_image(record.image))
        shape = (image.shape[0], image.shape[1])
        name = readers[0].name(record)
        kind = "abnormal" if record.label else "normal"
        mask = record_mask(record) if record.label and record.mask is not None else None
        scores = tuple(compared_map(protocol, reader.kept.read_map(name), shape) for reader in readers)
        images.append(ScoredImage(f"{name} ({kind})", image, mask, scores))
    return images


def _spread(records: Sequence[Record]) -> list[Record]:
    """A few records of each label, evenly spread over the data; those with a mask where there are any."""
    chosen = []
    for label, count in _SHOWN.items():
        part = [record for record in records if record.label == label]
        part = [record for record in part if record.mask is not None] or part
        places = dict.fromkeys(int(place) for place in np.linspace(0, len(part) - 1, min(count, len(part))))
        chosen += [part[place] for place in places]
    return chosen
