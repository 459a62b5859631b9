"""A site's own normal scans to cut-offs: each is read and scored as a run would, and its strongest candidate noted.

Nothing is trained, and nothing of a scan but one number is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medzsad.config import RunConfig, make_config
from medzsad.errors import ConfigError, ExitCode, RefusedError
from medzsad.files import write_text_atomic
from medzsad.methods.ensemble import Model
from medzsad.progress import Observer, Silent
from medzsad.run import pipeline
from medzsad.run.case import ended_by
from medzsad.run.key import content_digest, json_digest
from medzsad.run.rule import comparable_options, decision_for, kind_of
from medzsad.run.site_file import Kind, SiteCalibration, SiteLevel, Unit, few_scans_warning
from medzsad.run.threads import cpu_threads
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.limits import read_limits
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate
from medzsad.scan.sources import FolderSource
from medzsad.version import __version__
from medzsad.volume.candidates import candidates_of
from medzsad.volume.cutoffs import level_cutoffs
from medzsad.volume.decision import above_evidence, above_score, evidence_of
from medzsad.volume.records import CaseResult, Outcome

# They say what is made of scores, or how a run's files look; a calibration has none of it.
NOT_FOR_CALIBRATION = ("threshold", "sensitivity", "calibration", "score_dtype", "with_uids", "workers")
# Nearly nothing is made of the scores here, for the candidates are looked at below.
_NO_MASK = {"threshold": 1.0, "sensitivity": None, "calibration": None}


@dataclass(frozen=True, slots=True)
class NormalScan:
    """What is kept of a normal scan.

    Attributes:
        content_sha256: Of its files.
        kind: Whether it is a volume or a picture.
        unit: Of `highest`.
        highest: Its strongest candidate; None where it has none.
    """

    content_sha256: str
    kind: Kind
    unit: Unit
    highest: float | None


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """How a calibration ended.

    Attributes:
        site: What the file holds.
        path: The file.
        passed_over: Names of the scans that were refused, failed, or were there twice, with the reason.
        outcomes: How those that were refused or failed ended.
    """

    site: SiteCalibration
    path: Path
    passed_over: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 if a scan failed, else 3 if one was refused, else 0."""
        if Outcome.FAILED in self.outcomes:
            return ExitCode.FAILED
        return ExitCode.REFUSED if self.outcomes else ExitCode.OK

    def text(self) -> str:
        """A few lines for the terminal: what was passed over, the cut-offs, and where the file is."""
        lines = list(self.passed_over)
        for level, found in self.site.levels.items():
            cutoff = "every candidate is a lesion" if found.cutoff is None else f"{self.site.unit} {found.cutoff:.6g}"
            lines.append(
                f"{level:>8}: {cutoff}; {found.share:.1%} of these scans are called lesion, of further ones up to "
                f"{found.supported:.1%} are to be expected"
            )
        if self.site.warning:
            lines.append(f"Warning: {self.site.warning}")
        noun = self.site.kind if self.site.count != 1 else self.site.kind[:-1]
        return "\n".join([*lines, f"{self.site.count} normal {noun}: {self.path}"])


def calibrate_site(
    scans: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    detector: Model | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> SiteSummary:
    """The cut-offs of a site's own normal scans, after they were written to `out` for `medzsad run --calibration`.

    Scans that are refused or fail are passed over and told. The same scans, options and weights give the same file.

    Args:
        scans: Folders, files and archives with scans that are known to be normal.
        out: The JSON file.
        detector: From `medzsad.load_detector`; loaded from the options if left out.
        observer: Receives the progress events.
        **options: Keys of `medzsad.config.RunConfig` that decide what is read and how it is scored.

    Raises:
        ConfigError: No scan can be used, volumes and pictures are mixed, or an option is unknown or of no use here.
        WeightsError: The weights are missing or damaged.
        OutputError: The file cannot be written.
    """
    config = make_config(options)
    if unused := [key for key in NOT_FOR_CALIBRATION if getattr(config, key) != RunConfig.model_fields[key].default]:
        raise ConfigError(f"A calibration scores normal scans, so {', '.join(unused)} would do nothing; leave it out.")
    paths = [Path(scans)] if isinstance(scans, Path | str) else [Path(path) for path in scans]
    observer = observer or Silent()
    with cpu_threads(config.threads), temporary_unpack_dir() as folder:
        detector = detector or pipeline.load_model(config)
        config = pipeline.settled(config, detector)
        detector.word(config.class_name)
        found = FolderSource.as_asked(paths, config, folder).candidates(read_limits(config))
        observer.started("scoring", len(found), "scans")
        collected = _Collected([], [], [])
        for candidate in found:
            observer.step(candidate.name)
            collected.add(candidate, detector, config, observer)
    site = _site(collected.scans, detector, config)
    write_text_atomic(Path(out), site.to_json())
    return SiteSummary(site, Path(out), tuple(collected.passed_over), tuple(collected.outcomes))


@dataclass(frozen=True, slots=True)
class _Collected:
    scans: list[NormalScan]
    passed_over: list[str]
    outcomes: list[Outcome]

    def add(self, candidate: Candidate, detector: Model, config: RunConfig, observer: Observer) -> None:
        """Notes what is kept of one scan, or why it is passed over."""
        try:
            scan = _normal_scan(candidate, detector, config)
        except ConfigError:
            raise  # the same for every scan
        except Exception as error:  # noqa: BLE001  (as in a run: no scan takes the others along)
            ended = ended_by(candidate.name, error)
            self.outcomes.append(ended.outcome)
            self.passed_over.append(f"{candidate.name}: {ended.outcome}: {ended.message}")
            observer.ended(candidate.name, ended.outcome, ended.message)
            return
        if any(scan.content_sha256 == other.content_sha256 for other in self.scans):
            self.passed_over.append(f"{candidate.name}: the same scan was counted before.")
            observer.ended(candidate.name, "twice")
            return
        self.scans.append(scan)
        strongest = "no candidate" if scan.highest is None else f"highest {scan.unit} {scan.highest:.4g}"
        observer.ended(candidate.name, "normal", strongest)


def _normal_scan(candidate: Candidate, detector: Model, config: RunConfig) -> NormalScan:
    if candidate.code is not None:
        raise RefusedError(candidate.code, candidate.reason)
    content = content_digest(candidate)
    if candidate.frame is not None:
        content = json_digest([content, candidate.frame])
    scan = read_scan(candidate, read_limits(config))
    result = pipeline.detect_scan(scan, detector, config.model_copy(update=_NO_MASK))
    unit, highest = highest_of(result, detector, config)
    return NormalScan(content, kind_of(scan), unit, highest)


def highest_of(result: CaseResult, detector: Model, config: RunConfig) -> tuple[Unit, float | None]:
    """The highest evidence of a scored scan's candidates, None without any; its highest score where nothing is decided.

    Candidates smaller than `min_volume_mm3` do not count, for a run drops them.
    """
    assert result.scan is not None
    assert result.score is not None
    card = decision_for(result.scan, detector)
    if card is None:
        return "score", float(result.score.max())
    found = candidates_of(result, card.voxel_threshold)
    voxel_mm3 = float(np.prod(result.scan.spacing_mm)) if result.scan.has_physical_space else 1.0
    large = found.voxel_count * voxel_mm3 >= config.min_volume_mm3 * (1 - 1e-9)
    evidence = evidence_of(found.features[large], card)
    return "evidence", float(evidence.max()) if len(evidence) else None


def _site(scans: Sequence[NormalScan], detector: Model, config: RunConfig) -> SiteCalibration:
    if not scans:
        raise ConfigError("None of the scans can be used, so nothing can be calibrated. Give normal scans.")
    kinds = sorted({scan.kind for scan in scans})
    if len(kinds) > 1:
        counts = " and ".join(f"{sum(scan.kind == kind for scan in scans)} {kind}" for kind in kinds)
        raise ConfigError(f"There are {counts}, whose scores differ. Calibrate each kind by itself.")
    unit = scans[0].unit
    cutoffs = level_cutoffs([scan.highest for scan in scans], above_evidence if unit == "evidence" else above_score)
    highest = sorted(scan.highest for scan in scans if scan.highest is not None)
    return SiteCalibration(
        medzsad_version=__version__,
        kind=scans[0].kind,
        unit=unit,
        count=len(scans),
        scans_sha256=json_digest(sorted(scan.content_sha256 for scan in scans)),
        weights_sha256=detector.card.sha256,
        clip_sha256=detector.card.clip_sha256,
        guide_sha256=detector.card.guide_sha256,
        options=comparable_options(detector, config),
        highest=tuple(highest),
        without_candidate=len(scans) - len(highest),
        levels={
            level: SiteLevel(cutoff=found.value, share=found.share, supported=found.supported)
            for level, found in cutoffs.items()
        },
        warning=few_scans_warning(len(scans)),
    )
