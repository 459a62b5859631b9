"""A run takes its scans from any source: each is fetched when its turn comes, and nothing of it stays."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medzsad.config import make_config
from medzsad.errors import ConfigError, ReasonCode, RefusedError
from medzsad.output.schema import CaseRecord
from medzsad.progress import Silent
from medzsad.run import case as case_module
from medzsad.run import key
from medzsad.run.batch import RunOrder, plan_run, run_cases
from medzsad.run.executor import CaseWork
from medzsad.run.processes import Processes
from medzsad.scan.discover import discover
from medzsad.scan.records import Candidate, Candidates, ReadLimits
from medzsad.volume.records import Outcome
from tests import detectors
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_nifti

SHAPE = (24, 28, 6)
OPTIONS = {"threshold": 0.75, "window": "0,1000"}


@dataclass(frozen=True, slots=True)
class FarSource:
    """Stands for a server: lists scans without their files, copies one when it is opened, and notes what lies there.

    Attributes:
        server: Where the scans are.
        log: Gets a line per fetch: how many fetched files lay beside each other then.
        lost: Names of scans that cannot be fetched.
    """

    server: Path
    log: Path
    lost: tuple[str, ...] = ()

    def candidates(self, limits: ReadLimits) -> Candidates:
        return Candidates(replace(one, files=()) for one in discover([self.server], limits=limits))

    def opened(self, candidate: Candidate, into: Path) -> AbstractContextManager[Candidate]:
        return self._fetched(candidate, into)

    @contextmanager
    def _fetched(self, candidate: Candidate, into: Path) -> Iterator[Candidate]:
        copy = Path(shutil.copy(self.server / candidate.label, into))
        if candidate.name in self.lost:  # half of it has come already, and is left to the caller
            message = f"{candidate.label} cannot be fetched: the server is gone. Try again."
            raise RefusedError(ReasonCode.FILE_UNREADABLE, message)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{len([*into.parent.rglob('*.nii')])}\n")
        yield replace(candidate, files=(copy,))

    def beside(self) -> list[int]:
        return [int(line) for line in self.log.read_text(encoding="utf-8").split()]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "server"
    folder.mkdir()
    for number in range(4):
        write_nifti(folder / f"case{number}.nii", phantom_scan(SHAPE, seed=number))
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _order(source: FarSource, out: Path) -> RunOrder:
    return RunOrder((), out, make_config(OPTIONS), source=source)


def _files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("case*/*"))}


def test_a_source_that_fetches_each_scan_gives_the_bytes_of_the_folder(
    server: Path, tmp_path: Path, temporary: Path
) -> None:
    source = FarSource(server, tmp_path / "log")
    far = run_cases(_order(source, tmp_path / "far"), detector=BrightnessDetector(size=32))
    run_cases(RunOrder((server,), tmp_path / "near", make_config(OPTIONS)), detector=BrightnessDetector(size=32))
    assert [record.outcome for record in far.records] == [Outcome.LESION] * 4
    assert _files(tmp_path / "far") == _files(tmp_path / "near")
    assert source.beside() == [1, 1, 1, 1]
    assert _left_behind(temporary) == []


def test_a_run_over_a_source_takes_done_cases_over_and_sees_a_scan_that_changed(
    server: Path, tmp_path: Path, temporary: Path
) -> None:
    order = _order(FarSource(server, tmp_path / "log"), tmp_path / "out")
    run_cases(order, detector=BrightnessDetector(size=32))
    write_nifti(server / "case2.nii", phantom_scan(SHAPE, seed=9))
    plan = [line.split() for line in plan_run(order, BrightnessDetector(size=32))]
    assert [words[0] for words in plan] == ["skip", "skip", "score", "skip"]
    lost = _order(FarSource(server, tmp_path / "log", lost=("case1",)), tmp_path / "out")
    plan = [line.split() for line in plan_run(lost, BrightnessDetector(size=32))]
    assert plan[1][:3] == ["refuse", "case1", "FILE_UNREADABLE:"]
    detector = BrightnessDetector(size=32)
    summary = run_cases(order, detector=detector)
    assert (summary.skipped, detector.seen) == (3, 0)
    assert "another scan of the same name" in summary.records[2].message
    assert _left_behind(temporary) == []


def test_a_scan_that_cannot_be_fetched_is_refused_and_the_others_go_on(
    server: Path, tmp_path: Path, temporary: Path
) -> None:
    order = _order(FarSource(server, tmp_path / "log", lost=("case1",)), tmp_path / "out")
    summary = run_cases(order, detector=BrightnessDetector(size=32))
    assert [record.outcome for record in summary.records] == [
        Outcome.LESION,
        Outcome.REFUSED,
        Outcome.LESION,
        Outcome.LESION,
    ]
    assert summary.records[1].message == "case1.nii cannot be fetched: the server is gone. Try again."
    assert _left_behind(temporary) == []
    (tmp_path / "out" / "case1").rename(tmp_path / "out" / "other")
    assert [line.split()[0] for line in plan_run(order, BrightnessDetector(size=32))] == [
        "skip",
        "score",
        *["skip"] * 2,
    ]


def test_a_source_is_opened_in_the_worker_processes(server: Path, tmp_path: Path, temporary: Path) -> None:
    source = FarSource(server, tmp_path / "log", lost=("case3",))
    into = temporary / "into"
    into.mkdir()
    work = CaseWork(tmp_path / "out", make_config(OPTIONS), False, source, into, detectors.load_brightness)
    ends = list(Processes(2).run(work, source.candidates(ReadLimits()), Silent()))
    assert [end.record.outcome for end in ends] == [*[Outcome.LESION] * 3, Outcome.REFUSED]
    assert len(source.beside()) == 3
    assert max(source.beside()) <= 3  # two that are read, and the half one
    assert list(into.iterdir()) == []


def test_a_run_takes_paths_or_a_source_and_chooses_among_paths_alone(server: Path, tmp_path: Path) -> None:
    source = FarSource(server, tmp_path / "log")
    with pytest.raises(ConfigError, match="not from both"):
        run_cases(RunOrder((server,), tmp_path / "out", make_config(OPTIONS), source=source))
    with pytest.raises(ConfigError, match="chooses among its scans itself"):
        run_cases(RunOrder((), tmp_path / "out", make_config({**OPTIONS, "frame": 1}), source=source))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="The source holds no scan"):
        run_cases(_order(FarSource(empty, tmp_path / "log"), tmp_path / "out"), detector=BrightnessDetector(size=32))


def _left_behind(temporary: Path) -> list[Path]:
    """What a run has not removed; the marks that runs are going on stay."""
    return [path for path in temporary.iterdir() if not path.name.startswith("medzsad-runs-")]


@pytest.mark.parametrize("function", ["content_digest", "case_key"])
def test_a_bug_before_a_scan_is_read_fails_its_case_alone(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    real = getattr(key, function)

    def broken(candidate: Candidate, *rest: object) -> object:
        if candidate.name == "case1":
            raise AttributeError("Phantom^Secret")
        return real(candidate, *rest)

    for module in (key, case_module):
        monkeypatch.setattr(module, function, broken, raising=False)
    order = RunOrder((server,), tmp_path / "out", make_config(OPTIONS))
    summary = run_cases(order, detector=BrightnessDetector(size=32))
    outcomes = {record.name: record.outcome for record in summary.records}
    assert outcomes.pop("case1") == Outcome.FAILED
    assert set(outcomes.values()) == {Outcome.LESION}
    failed: CaseRecord = summary.records[1]
    assert "Unexpected AttributeError at" in failed.message
    assert "broken" in (tmp_path / "out" / "case1" / "error.txt").read_text(encoding="utf-8")
    assert "Secret" not in failed.model_dump_json()
