"""How a run ended, and the reports of a folder from the results that are there; needs no model and no torch."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from medzsad.errors import ExitCode
from medzsad.output.collect import rebuild_reports
from medzsad.output.schema import CaseRecord, IncompleteCase
from medzsad.volume.records import Outcome


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended.

    Attributes:
        out: Folder of the results.
        records: Its cases in order.
        skipped: How many of them were done before.
        incomplete: Cases in the folder that have no usable result.
        remark: On files that were not understood, or "".
    """

    out: Path
    records: tuple[CaseRecord, ...]
    skipped: int = 0
    incomplete: tuple[IncompleteCase, ...] = ()
    remark: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """1 if a case failed or is incomplete, else 3 if one was refused, else 0."""
        outcomes = {record.outcome for record in self.records}
        if Outcome.FAILED in outcomes or self.incomplete:
            return ExitCode.FAILED
        return ExitCode.REFUSED if Outcome.REFUSED in outcomes else ExitCode.OK

    def text(self) -> str:
        """A few lines for the end of the run: counts, refusals, failures, warnings, and where the report is."""
        lines = [f"{record.name}: {record.outcome}: {record.message}" for record in self.records if record.message]
        lines += [f"{record.name}: warning: {warning}" for record in self.records for warning in record.warnings]
        lines += [f"{case.name}: incomplete: {case.problem}" for case in self.incomplete]
        done = f" ({self.skipped} done before)" if self.skipped else ""
        remark = [self.remark] if self.remark else []
        return "\n".join([*lines, counted(self.records, done), *remark, f"{self.out / 'report.html'}"])


def counted(records: tuple[CaseRecord, ...], remark: str = "") -> str:
    """How many cases there are and how they ended, as a sentence."""
    counts = Counter(str(record.outcome) for record in records)
    total = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    noun = "case" if len(records) == 1 else "cases"
    return f"{len(records)} {noun}{remark}: {total}." if total else f"0 cases{remark}."


def report_folder(out: Path) -> RunSummary:
    """All cases in a folder of results, after their reports were written anew.

    Raises:
        ConfigError: The folder holds no manifest of a run.
        OutputError: A report could not be written.
    """
    found = rebuild_reports(out)
    return RunSummary(out, found.cases, incomplete=found.incomplete)
