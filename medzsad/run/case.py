"""One case of a run in three parts: read, score, write. What goes wrong in any of them is the case's outcome."""

import logging
import platform
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from medzsad.config import RunConfig
from medzsad.environment import package_versions
from medzsad.errors import ConfigError, MedzsadError, OutputError, RefusedError
from medzsad.methods.ensemble import Model
from medzsad.output.case import case_record, read_case, write_case
from medzsad.output.facts import CaseFacts
from medzsad.output.lock import CaseLocks
from medzsad.output.schema import CalibrationRecord, CaseRecord, RunManifest
from medzsad.run.key import content_digest, key_of
from medzsad.run.pipeline import detect_scan
from medzsad.run.site_file import read_site
from medzsad.run.together import ScansTogether, detect_together, read_together
from medzsad.scan.limits import read_limits
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, Scan
from medzsad.scan.sources import LOCAL_FILES, ScanSource, opened_case
from medzsad.version import __version__
from medzsad.volume.records import CaseResult, Outcome
from medzsad.weights.card import ModelCard

_log = logging.getLogger(__name__)

# Seconds between two looks at a case that another process works on.
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The record of a case, and whether it was taken over from an earlier run."""

    record: CaseRecord
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case before it is scored: one of a finished record, a result (refused or failed), scans in memory."""

    facts: CaseFacts
    done: CaseRecord | None = None
    result: CaseResult | None = None
    scan: Scan | ScansTogether | None = None
    keep_files: bool = False


@dataclass(frozen=True, slots=True)
class CaseRunner:
    """Runs cases with one model into one folder.

    Attributes:
        out: Folder for the results.
        config: The checked options, with nothing left to the device.
        overwrite: Redo cases that are done.
        detector: Of the options.
        locks: The cases that this process works on.
        source: Opens the cases.
        into: See `opened_case`.
    """

    out: Path
    config: RunConfig
    overwrite: bool
    detector: Model
    locks: CaseLocks
    source: ScanSource = LOCAL_FILES
    into: Path | None = None

    def run(self, candidate: Candidate, wait: bool = False) -> Ended | None:
        """The case, read, scored and written; None if another process works on it and `wait` is false.

        Raises:
            ConfigError: The same would happen to every case.
            OutputError: The output folder cannot be written.
        """
        prepared = self.prepare(candidate, wait)
        return None if prepared is None else self.finish(prepared, self.score(prepared))

    def is_done(self, candidate: Candidate) -> bool:
        """Whether the folder holds the case's result for this input, these options and weights.

        Raises:
            RefusedError: The files cannot be fetched.
        """
        stored = self._stored_result(candidate)
        if stored is None or not stored.key:
            return False
        with opened_case(self.source, candidate, self.into) as local:
            key = digest_and_key(local, self.detector, self.config)[1]
        return stored.key == key

    def prepare(self, candidate: Candidate, wait: bool = False) -> Prepared | None:
        """The case with its scan read, or with the reason why there is none to score; it is locked until `finish`.

        Args:
            candidate: What was found.
            wait: Whether to wait for a case that another process works on; None is returned for it otherwise.

        Raises:
            OutputError: The output folder cannot be written.
        """
        if not self.locks.acquire(candidate.name):
            if not wait:
                return None
            _log.warning("Another run is working on case %s; waiting for it.", candidate.name)
            self.locks.wait(candidate.name, _LOOK_S)
        facts = CaseFacts(candidate, "", "", self.config, told_model(self.detector, self.config))
        try:
            with opened_case(self.source, candidate, self.into) as local:
                content, key = digest_and_key(local, self.detector, self.config)
                facts = replace(facts, candidate=local, content_sha256=content, key=key)
                return self._taken_over(facts) or self._read(facts)
        except Exception as error:  # noqa: BLE001  (see _written)
            return Prepared(facts, result=ended_by(candidate.name, error))

    def score(self, prepared: Prepared) -> CaseResult | None:
        """The result; None for a case that was done before.

        Raises:
            ConfigError: The same would happen to every case.
        """
        if prepared.scan is None:
            return prepared.result
        try:
            if isinstance(prepared.scan, ScansTogether):
                return detect_together(prepared.scan, self.detector, self.config)
            return detect_scan(prepared.scan, self.detector, self.config)
        except ConfigError:
            # The same for every case: the run as a whole is wrong.
            raise
        except Exception as error:  # noqa: BLE001  (see _written)
            return ended_by(prepared.facts.candidate.name, error)

    def finish(self, prepared: Prepared, result: CaseResult | None) -> Ended:
        """The record of the case, its files written; other processes may have the case then."""
        try:
            return self._written(prepared, result)
        finally:
            self.locks.release(prepared.facts.candidate.name)

    def _written(self, prepared: Prepared, result: CaseResult | None) -> Ended:
        facts = prepared.facts
        if prepared.done is not None:
            return Ended(prepared.done, taken_over=True)
        if result is None:
            raise ValueError(f"The case {facts.candidate.name} has no result.")
        if prepared.keep_files:
            return Ended(case_record(result, facts))
        try:
            return Ended(write_case(result, self.out, facts))
        except OutputError as error:
            failure = CaseResult(facts.candidate.name, Outcome.FAILED, message=str(error))
        except Exception as error:  # noqa: BLE001  (one of the places that keep a case from taking the others along)
            failure = unexpected(facts.candidate.name, error)
        return Ended(failed_record(failure, self.out, facts))

    def _taken_over(self, facts: CaseFacts) -> Prepared | None:
        """What an earlier run left for this case: its result, or that of another scan, which is kept."""
        name, content = facts.candidate.name, facts.content_sha256
        stored = self._stored_result(facts.candidate)
        if stored is None or not content:
            return None
        if stored.key == facts.key:
            return Prepared(facts, done=stored)
        if stored.input.content_sha256 in ("", content):
            return None
        message = (
            f"{self.out / name} holds the result of another scan of the same name, which was kept. "
            "Choose another folder with -o, or replace it with --overwrite."
        )
        return Prepared(facts, result=CaseResult(name, Outcome.FAILED, message=message), keep_files=True)

    def _read(self, facts: CaseFacts) -> Prepared:
        candidate = facts.candidate
        if candidate.code is not None:
            raise RefusedError(candidate.code, candidate.reason)
        read = read_together if candidate.parts else read_scan
        return Prepared(facts, scan=read(candidate, read_limits(self.config)))

    def _stored_result(self, candidate: Candidate) -> CaseRecord | None:
        # Only results are taken over: a refusal costs little to repeat and may have been the machine's.
        record = None if self.overwrite else read_case(self.out, candidate.name)
        return record if record is not None and record.outcome in (Outcome.LESION, Outcome.NO_LESION) else None


def told_model(detector: Model, config: RunConfig) -> ModelCard:
    """What reports say of the model, with the word that its prompts are given."""
    return detector.card.told(detector.word(config.class_name))


def run_manifest(detector: Model, config: RunConfig) -> RunManifest:
    """What a run is made with; `config` leaves nothing to the device."""
    return RunManifest(
        medzsad_version=__version__,
        model=told_model(detector, config),
        device=str(detector.device),
        precision=config.precision,
        threads=torch.get_num_threads(),
        config=config.model_dump(mode="json"),
        versions=package_versions(),
        calibration=None if config.calibration is None else _calibration(Path(config.calibration)),
    )


def _calibration(path: Path) -> CalibrationRecord:
    site = read_site(path)
    return CalibrationRecord(
        sha256=site.digest,
        unit=site.unit,
        count=site.count,
        scans_sha256=site.scans_sha256,
        levels={level: found.cutoff for level, found in site.levels.items()},
        warning=site.warning,
    )


def digest_and_key(candidate: Candidate, detector: Model, config: RunConfig) -> tuple[str, str]:
    """The digest of the input's bytes, and the key of its result; both "" if there are none or they cannot be read.

    A case without a key is looked at anew in the next run.
    """
    if not candidate.files:
        return "", ""
    try:
        content = content_digest(candidate)
    except RefusedError:
        return "", ""
    return content, key_of(candidate, content, config, detector)


def ended_by(name: str, error: Exception) -> CaseResult:
    """A case that an error has ended: refused, failed with a reason, or failed by a mistake of ours."""
    if isinstance(error, RefusedError):
        return CaseResult(name, Outcome.REFUSED, code=error.code, message=str(error))
    if isinstance(error, MedzsadError):
        return CaseResult(name, Outcome.FAILED, message=str(error))
    return unexpected(name, error)


def unexpected(name: str, error: Exception) -> CaseResult:
    """A failed case whose reason is a mistake in medzsad or in a library: places in the code, and what to do.

    The text of a foreign exception may quote header values, so its type and its places alone are told.
    """
    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{_module_path(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames]
    _log.error("Case %s: unexpected %s at\n  %s", name, kind, "\n  ".join(places))
    message = (
        f"Unexpected {kind} at {places[-1] if places else 'an unknown place'}. This is a mistake in medzsad, not in "
        "the scan. Please report it with the file error.txt of this case, which holds no patient data."
    )
    versions = ", ".join(f"{package} {version}" for package, version in package_versions().items())
    trace = "\n".join([f"{kind} at", *(f"  {place}" for place in places), f"{versions}, {platform.system()}", ""])
    return CaseResult(name, Outcome.FAILED, message=message, trace=trace)


def failed_record(failure: CaseResult, out: Path, facts: CaseFacts) -> CaseRecord:
    """The record of a failed case, written where that is possible, so that the next report knows of it too."""
    try:
        return write_case(failure, out, facts)
    except Exception:  # noqa: BLE001  (the second of the kind: the first is the one to tell)
        return case_record(failure, facts)


def _module_path(filename: str) -> str:
    """The path below the folder of installed packages: no folder of the user is named."""
    parts = Path(filename).parts
    for top in ("site-packages", "dist-packages"):
        if top in parts:
            return "/".join(parts[parts.index(top) + 1 :])
    return "/".join(parts[parts.index("medzsad") :]) if "medzsad" in parts else parts[-1]
