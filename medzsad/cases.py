"""One case of a run in three parts: read, score, write. What goes wrong in any of them is the case's outcome."""

import logging
import traceback
from dataclasses import dataclass
from pathlib import Path

from medzsad.config import RunConfig, result_options
from medzsad.errors import ConfigError, MedzsadError, OutputError, RefusedError
from medzsad.methods.base import Detector
from medzsad.output.case import CaseFacts, case_record, read_case, write_case
from medzsad.output.schema import CaseRecord, ModelRecord
from medzsad.pipeline import detect_scan
from medzsad.resume import case_key, content_digest
from medzsad.scan.limits import read_limits
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, Scan
from medzsad.volume.records import CaseResult, Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case before it is scored: one of a finished record, a result (refused or failed), a scan in memory."""

    facts: CaseFacts
    done: CaseRecord | None = None
    result: CaseResult | None = None
    scan: Scan | None = None
    keep_files: bool = False


@dataclass(frozen=True, slots=True)
class CaseRunner:
    """Runs cases with one model into one folder.

    Attributes:
        out: Folder for the results.
        config: The checked options, with nothing left to the device.
        overwrite: Redo cases that are done.
        detector: Of the options.
    """

    out: Path
    config: RunConfig
    overwrite: bool
    detector: Detector

    def is_done(self, candidate: Candidate) -> bool:
        """Whether the folder holds the case's result for this input, these options and weights."""
        stored = self._stored_result(candidate)
        return stored is not None and stored.key == self._digest_and_key(candidate)[1]

    def prepare(self, candidate: Candidate) -> Prepared:
        """The case with its scan read, or with the reason why there is none to score."""
        content, key = self._digest_and_key(candidate)
        facts = CaseFacts(candidate, content, key, self.config, model_record(self.detector, self.config.class_name))
        stored = self._stored_result(candidate)
        if stored is not None and stored.key == key:
            return Prepared(facts, done=stored)
        if stored is not None and content and stored.input.content_sha256 not in ("", content):
            message = (
                f"{self.out / candidate.name} holds the result of another scan of the same name, which was kept. "
                "Choose another folder with -o, or replace it with --overwrite."
            )
            result = CaseResult(candidate.name, Outcome.FAILED, message=message)
            return Prepared(facts, result=result, keep_files=True)
        return self._read(facts)

    def score(self, prepared: Prepared) -> CaseResult | None:
        """The result; None for a case that was done before.

        Raises:
            ConfigError: The same would happen to every case.
        """
        if prepared.scan is None:
            return prepared.result
        name = prepared.facts.candidate.name
        try:
            return detect_scan(prepared.scan, self.detector, self.config)
        except RefusedError as refusal:
            return CaseResult(name, Outcome.REFUSED, code=refusal.code, message=str(refusal))
        except ConfigError:
            # The same for every case: the run as a whole is wrong.
            raise
        except MedzsadError as error:
            return CaseResult(name, Outcome.FAILED, message=str(error))
        except Exception as error:  # noqa: BLE001  (see finish)
            return CaseResult(name, Outcome.FAILED, message=_unexpected(error))

    def finish(self, prepared: Prepared, result: CaseResult | None) -> tuple[CaseRecord, bool]:
        """The record of the case, its files written, and whether it was taken over from an earlier run."""
        facts = prepared.facts
        if prepared.done is not None:
            return prepared.done, True
        if result is None:
            raise ValueError(f"The case {facts.candidate.name} has no result.")
        if prepared.keep_files:
            return case_record(result, facts), False
        try:
            return write_case(result, self.out, facts), False
        except OutputError as error:
            message = str(error)
        except Exception as error:  # noqa: BLE001  (one of the places that keep a case from taking the others along)
            message = _unexpected(error)
        return case_record(CaseResult(facts.candidate.name, Outcome.FAILED, message=message), facts), False

    def _read(self, facts: CaseFacts) -> Prepared:
        candidate = facts.candidate
        name = candidate.name
        if candidate.code is not None:
            result = CaseResult(name, Outcome.REFUSED, code=candidate.code, message=candidate.reason)
            return Prepared(facts, result=result)
        try:
            return Prepared(facts, scan=read_scan(candidate, read_limits(self.config)))
        except RefusedError as refusal:
            result = CaseResult(name, Outcome.REFUSED, code=refusal.code, message=str(refusal))
        except MedzsadError as error:
            result = CaseResult(name, Outcome.FAILED, message=str(error))
        except Exception as error:  # noqa: BLE001  (see finish)
            result = CaseResult(name, Outcome.FAILED, message=_unexpected(error))
        return Prepared(facts, result=result)

    def _digest_and_key(self, candidate: Candidate) -> tuple[str, str]:
        try:
            content = content_digest(candidate)
        except RefusedError:
            # A file that cannot be read has no key; the case is looked at anew in the next run.
            return "", ""
        info = self.detector.info
        weights = {"prompts": info.sha256, "clip": info.clip_sha256}
        return content, case_key(candidate, content, result_options(self.config), weights)

    def _stored_result(self, candidate: Candidate) -> CaseRecord | None:
        # Only results are taken over: a refusal costs little to repeat and may have been the machine's.
        record = None if self.overwrite else read_case(self.out, candidate.name)
        return record if record is not None and record.outcome in (Outcome.LESION, Outcome.NO_LESION) else None


def _unexpected(error: Exception) -> str:
    # The text of a foreign exception may quote header values, so only its type and places are told, with -v too.
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    _log.debug("%s at\n  %s", type(error).__name__, "\n  ".join(places))
    return (
        f"Unexpected {type(error).__name__} at {places[-1] if places else 'an unknown place'}. "
        "Run again with -v for all places, and please report it."
    )


def model_record(detector: Detector, class_name: str | None = None) -> ModelRecord:
    """What reports say about a detector.

    Args:
        detector: Whose weights are meant.
        class_name: Word in the prompts; None takes the one stored with the weights.
    """
    info = detector.info
    return ModelRecord(
        name=info.name,
        method=info.method,
        stage=info.stage,
        sha256=info.sha256,
        clip_name=info.clip_name,
        clip_sha256=info.clip_sha256,
        samples=info.samples,
        class_name=class_name or info.class_name,
        threshold=info.threshold,
        threshold_provenance=info.threshold_provenance,
        licence=info.licence,
        source=info.source,
        description=info.description,
    )
