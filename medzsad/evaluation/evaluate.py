"""`medzsad evaluate`: data checked, scored, measured, and set beside what others published."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medzsad.datasets.records import Problem, relative_name
from medzsad.drawing.examples import example_sheet
from medzsad.drawing.plots import benchmark_plots
from medzsad.environment import package_versions
from medzsad.errors import ConfigError
from medzsad.evaluation.checked_sets import CheckedSet, checked_sets
from medzsad.evaluation.config import EvaluateConfig
from medzsad.evaluation.measurement import Measured, MeasureOrder
from medzsad.evaluation.pictures import measure_pictures
from medzsad.evaluation.protocol import Protocol, find_protocol
from medzsad.evaluation.report import write_evaluation_report
from medzsad.evaluation.results import BenchmarkRecord, EvaluationRecord, ProblemRecord, metric_records
from medzsad.evaluation.score_cache import KeptScores, model_of
from medzsad.evaluation.scorer import BenchmarkScorer, score_pictures
from medzsad.evaluation.tolerance import EvaluatedModel, published_rows
from medzsad.evaluation.volumes import ScoredVolumes, measure_volumes, score_volumes
from medzsad.files import write_bytes_atomic
from medzsad.methods.detector import Detector
from medzsad.methods.registry import find_method, method_names
from medzsad.output.lock import only_run
from medzsad.output.schema import plain_value
from medzsad.progress import Observer, Silent
from medzsad.run.pipeline import load_detector
from medzsad.version import __version__
from medzsad.volume.threshold import resolve_threshold
from medzsad.weights.card import ModelCard


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """A benchmark with its kept scores.

    Attributes:
        data: What was scored.
        kept: The scores.
        refused: Volumes that the reader refused; left out.
    """

    data: CheckedSet
    kept: KeptScores
    refused: tuple[Problem, ...] = ()

    @property
    def model(self) -> ModelCard:
        """The model of the scores."""
        return model_of(self.kept)


def evaluate(config: EvaluateConfig, out: Path, observer: Observer | None = None) -> EvaluationRecord:
    """The metrics of all benchmarks; writes results.json, results.csv, report.html and the kept scores.

    After an interruption, the same call continues where it was.

    Args:
        config: What is evaluated, with what.
        out: Folder for the results.
        observer: Receives the progress events.

    Raises:
        ConfigError: The data are missing or bad, or the folder holds scores of another model.
        WeightsError: The weights are missing or damaged.
        ScoringError: The model returned a score that is not finite.
        OutputError: The folder cannot be written.
    """
    observer = observer or Silent()
    with only_run(out):
        sets = scored_sets(config, out, observer)
        model = sets[0].model
        protocol = measuring_protocol(config, model)
        threshold, provenance = known_threshold(config, model)
        benchmarks, pictures = [], {}
        for one in sets:
            name = one.data.options.called
            observer.note(f"{name}: measuring")
            measured = measure(one, config, observer)
            pictures[name] = _write_pictures(out, one.data, measured)
            benchmarks.append(_benchmark_record(one, measured, protocol))
        record = EvaluationRecord(
            medzsad_version=__version__,
            model=model,
            protocol=protocol.name,
            protocol_text=protocol.describe(),
            threshold=threshold,
            threshold_provenance=provenance,
            seed=config.seed,
            options=plain_value(config.model_dump(mode="json")),
            benchmarks=tuple(benchmarks),
            versions=package_versions(),
        )
        write_evaluation_report(out, record, pictures)
    return record


def scored_sets(config: EvaluateConfig, out: Path, observer: Observer) -> list[ScoredSet]:
    """All benchmarks with kept scores, those of `scores_from` or new ones.

    Args:
        config: What is evaluated, with what.
        out: Folder for the results.
        observer: Receives the progress events.

    Raises:
        ConfigError: As `evaluate`.
    """
    protocol = find_protocol(config.protocol)
    source = config.scores_from
    data = checked_sets(config.benchmarks, out if source is None else source, config.skip_bad, observer)
    if source is not None:
        return [_earlier(one, source, protocol) for one in data]
    detector = load_detector(
        config.weights,
        clip_weights=config.clip_weights,
        guide_weights=config.guide_weights,
        samples=config.samples,
        device=config.device,
    )
    return [_scored(one, detector, config, out, protocol, observer) for one in data]


def _earlier(data: CheckedSet, source: Path, protocol: Protocol) -> ScoredSet:
    kept = KeptScores(source / data.options.called, None)
    if data.pictures is not None and kept.key.get("resize") != protocol.resize:
        raise ConfigError(
            f"The scores in {kept.folder} were made with resize {kept.key.get('resize')}, the protocol {protocol.name} "
            f"needs {protocol.resize}. Evaluate again with the model and --protocol {protocol.name}."
        )
    if data.volumes is None:
        return ScoredSet(data, kept)
    # What the reader refused then has no score; it is left out again, and said again.
    refused = tuple(
        Problem("refused", "warning", name, "Left out. It has no kept score.")
        for record in data.volumes.records
        if kept.find(name := relative_name(data.volumes.root, record.image), record.image) is None
    )
    return ScoredSet(data, kept, refused)


def _scored(
    data: CheckedSet,
    detector: Detector,
    config: EvaluateConfig,
    out: Path,
    protocol: Protocol,
    observer: Observer,
) -> ScoredSet:
    scorer = BenchmarkScorer(detector, _word(data, detector), config.seed, config.precision, config.batch_size)
    name = data.options.called
    for class_name in sorted({record.class_name for record in data.pictures.records} if data.pictures else {""}):
        scorer.called(class_name)  # an unknown word ends the evaluation before it begins
    observer.note(f"{name}: scoring with {detector.card.name}")
    kept = KeptScores(out / name, scorer.key(protocol.resize if data.pictures is not None else "fit"))
    if data.pictures is not None:
        score_pictures(data.pictures, scorer, protocol, kept, observer)
        return ScoredSet(data, kept)
    assert data.volumes is not None
    problems = score_volumes(data.volumes.root, data.volumes.records, scorer, data.modality, kept, observer)
    if problems and not config.skip_bad:
        told = "\n  ".join(f"{problem.subject}: {problem.message}" for problem in problems)
        raise ConfigError(
            f"{name}: {len(problems)} volumes cannot be scored:\n  {told}\nFix them, or leave them out with "
            "--skip-bad; the scores of the others are kept."
        )
    return ScoredSet(data, kept, tuple(problems))


def _word(data: CheckedSet, detector: Detector) -> str:
    if data.options.class_name is not None:
        return detector.word(data.options.class_name)
    return data.word if detector.model.uses_class_names else ""


def measure(one: ScoredSet, config: EvaluateConfig, observer: Observer) -> Measured:
    """The metrics of a benchmark from its kept scores.

    Args:
        one: The benchmark.
        config: Protocol, threshold and seed.
        observer: Receives the progress events.
    """
    data = one.data
    order = MeasureOrder(
        title=data.benchmark.title,
        protocol=measuring_protocol(config, one.model),
        threshold=known_threshold(config, one.model)[0],
        seed=config.seed,
        classification=data.benchmark.image_score == "classification",
    )
    if data.pictures is not None:
        return measure_pictures(data.pictures, one.kept, order, observer)
    assert data.volumes is not None
    refused = {problem.subject for problem in one.refused}
    root = data.volumes.root
    records = tuple(r for r in data.volumes.records if relative_name(root, r.image) not in refused)
    if not records:
        raise ConfigError(f"{data.options.called}: no volume was scored.")
    return measure_volumes(data.word, ScoredVolumes(root, records, one.kept), order, observer)


def measuring_protocol(config: EvaluateConfig, model: ModelCard) -> Protocol:
    """The protocol of a configuration, as it measures the scores of a model.

    Args:
        config: Names the protocol.
        model: Under the protocol of its own method, its image scores are taken as they are.
    """
    protocol = find_protocol(config.protocol)
    # Kept scores may be of a method that is not installed here; its own protocol is then not known.
    known = model.method in method_names()
    return protocol.measuring(known and find_method(model.method).protocol == protocol.name)


def known_threshold(config: EvaluateConfig, model: ModelCard) -> tuple[float | None, str]:
    """The threshold for Dice and lesions with who chose it; None where neither user nor weights give one.

    Args:
        config: May override it.
        model: Whose weights may hold one.
    """
    if config.threshold is None and model.threshold is None:
        return None, "none is known"
    return resolve_threshold(config.threshold, model.threshold, model.threshold_provenance)


def _benchmark_record(one: ScoredSet, measured: Measured, protocol: Protocol) -> BenchmarkRecord:
    data = one.data
    mean = metric_records(measured.mean)
    problems: Sequence[Problem] = (*data.problems, *one.refused)
    return BenchmarkRecord(
        name=data.options.called,
        title=data.benchmark.title,
        kind=data.kind,
        classes=tuple(part.record for part in measured.classes),
        mean=mean,
        problems=tuple(
            ProblemRecord(kind=p.kind, severity=p.severity, subject=p.subject, message=p.message) for p in problems
        ),
        left_out=data.left_out + len(one.refused),
        published=published_rows(data.benchmark.name, mean, _evaluated_model(one, protocol)),
        data_sha256=data.sha256(),
    )


def _evaluated_model(one: ScoredSet, protocol: Protocol) -> EvaluatedModel:
    return EvaluatedModel(
        method=one.model.method,
        tower=one.model.clip_name,
        trained_on=one.model.trained_on,
        # Volumes are scored as `run` does, whatever the protocol of pictures.
        protocol=protocol.name if one.data.kind == "pictures" else "plain",
        guided=bool(one.model.guide_sha256),
    )


def _write_pictures(out: Path, data: CheckedSet, measured: Measured) -> dict[str, Path]:
    folder = out / data.options.called
    folder.mkdir(exist_ok=True)  # with scores of an earlier evaluation nothing has been written there yet
    found = {"Curves and scores": folder / "curves.png"}
    unit = "image" if data.kind == "pictures" else "volume"
    write_bytes_atomic(found["Curves and scores"], benchmark_plots(measured.drawing(data.benchmark.title, unit)))
    for number, part in enumerate(measured.classes):
        if part.examples:
            words = f"Examples of {part.record.name}" if len(measured.classes) > 1 else "Examples"
            found[words] = folder / f"examples_{number}.png"
            write_bytes_atomic(found[words], example_sheet(part.examples))
    return found
