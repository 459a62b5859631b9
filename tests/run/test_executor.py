"""Ways to run cases: in this process and in several; side by side in one folder; through the death of a process."""

import logging
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from medzsad.config import RunConfig, make_config
from medzsad.errors import ExitCode, WeightsError
from medzsad.output.lock import CaseLocks
from medzsad.progress import Silent
from medzsad.run import case as case_module
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.executor import CaseWork, ReadAhead
from medzsad.run.processes import Processes
from medzsad.run.summary import RunSummary
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.records import ReadLimits
from medzsad.volume.records import CaseResult, Outcome
from tests import detectors
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_nifti

SHAPE = (24, 28, 6)
OPTIONS = {"threshold": 0.75, "window": "0,1000", "allow_labels": True}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(4):
        write_nifti(folder / f"case{number}.nii.gz", phantom_scan(SHAPE, seed=number))
    return folder


def _order(scans: Path, out: Path, **options: object) -> RunOrder:
    return RunOrder((scans,), out, make_config({**OPTIONS, **options}))


def _bytes(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@dataclass
class _Told(Silent):
    started_cases: list[str] = field(default_factory=list)
    ended_cases: list[str] = field(default_factory=list)

    def step(self, text: str, done: int | None = None) -> None:
        self.started_cases.append(text)

    def ended(self, name: str, outcome: str, message: str = "") -> None:
        self.ended_cases.append(name)


def _run_in_processes(
    scans: Path, out: Path, load: Callable[[RunConfig], BrightnessDetector], count: int = 2
) -> tuple[list[case_module.Ended], _Told]:
    told = _Told()
    with temporary_unpack_dir() as unpack_dir:
        found = discover([scans], limits=ReadLimits(), unpack_dir=unpack_dir)
        work = CaseWork(out, make_config(OPTIONS), load=load)
        return list(Processes(count).run(work, found, told)), told


def test_processes_write_the_same_bytes_in_the_same_order_as_one_process(scans: Path, tmp_path: Path) -> None:
    told, detector = _Told(), BrightnessDetector(size=32)
    summary = run_cases(_order(scans, tmp_path / "many", workers=2), told, detector=detector)
    assert detector.seen == 0  # each process has its own
    assert summary.records == run_cases(_order(scans, tmp_path / "one"), detector=detector).records
    assert sorted(told.started_cases) == sorted(told.ended_cases) == [f"case{n}" for n in range(4)]
    many, one = _bytes(tmp_path / "many"), _bytes(tmp_path / "one")
    assert {name: many[name] for name in many if name.startswith("case")} == {
        name: one[name] for name in one if name.startswith("case")
    }
    again, _ = _run_in_processes(scans, tmp_path / "many", detectors.load_brightness, count=1)
    assert [end.taken_over for end in again] == [True] * 4


def test_a_process_that_dies_costs_its_case_alone(scans: Path, tmp_path: Path) -> None:
    phantom = phantom_scan(SHAPE, seed=9)
    white = replace(phantom.scan, voxels=np.where(phantom.scan.voxels > 1, np.float32(5000), np.float32(4000)))
    write_nifti(scans / "case1.nii.gz", replace(phantom, scan=white))
    ends, _ = _run_in_processes(scans, tmp_path / "out", detectors.load_mortal, count=1)
    outcomes = {end.record.name: end.record.outcome for end in ends}
    assert list(outcomes) == ["case0", "case1", "case2", "case3"]
    assert outcomes.pop("case1") == Outcome.FAILED
    assert set(outcomes.values()) == {Outcome.LESION}
    message = ends[1].record.message
    assert "exit code 7" in message
    assert message.endswith("finished cases are kept.")
    assert not list((tmp_path / "out").glob(".medzsad-partial-*"))


def test_what_is_wrong_in_every_process_ends_the_run_with_its_own_error(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights of that name"):
        _run_in_processes(scans, tmp_path / "out", detectors.load_nothing, count=1)


def test_two_runs_into_one_folder_share_the_cases_and_score_each_once(scans: Path, tmp_path: Path) -> None:
    class Slow(BrightnessDetector):
        def predict(self, *args: object) -> object:  # type: ignore[override]
            time.sleep(0.05)
            return super().predict(*args)  # type: ignore[arg-type]

    both = [Slow(size=32), Slow(size=32)]
    summaries: list[RunSummary] = []

    def go(detector: BrightnessDetector) -> None:
        summaries.append(run_cases(_order(scans, tmp_path / "out"), detector=detector))

    threads = [threading.Thread(target=go, args=(detector,)) for detector in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    alone = Slow(size=32)
    expected = run_cases(_order(scans, tmp_path / "alone"), detector=alone)
    assert [summary.exit_code for summary in summaries] == [ExitCode.OK] * 2
    assert all(summary.records == expected.records for summary in summaries)
    assert both[0].seen + both[1].seen == alone.seen
    assert min(detector.seen for detector in both) > 0
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "alone")


def test_a_case_in_work_elsewhere_is_done_last_and_waited_for(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_module, "_LOOK_S", 0.05)
    out = tmp_path / "out"
    order: list[str] = []
    said: list[str] = []
    real = case_module.detect_scan
    with CaseLocks(out) as elsewhere:
        assert elsewhere.acquire("case0")

        def scoring(*args: object) -> CaseResult:
            result = real(*args)  # type: ignore[arg-type]
            order.append(result.name)
            return result

        class Releasing(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                said.append(record.getMessage())
                elsewhere.release("case0")

        monkeypatch.setattr(case_module, "detect_scan", scoring)
        monkeypatch.setattr(case_module._log, "handlers", [Releasing()])
        summary = run_cases(_order(scans, out), detector=BrightnessDetector(size=32), executor=ReadAhead())
    assert order == ["case1", "case2", "case3", "case0"]
    assert [record.name for record in summary.records] == sorted(order)
    assert said == ["Another run is working on case case0; waiting for it."]


def test_a_run_holds_no_case_while_it_waits_for_another_one(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_module, "_LOOK_S", 0.05)
    free: list[bool] = []
    with CaseLocks(tmp_path / "out") as elsewhere, CaseLocks(tmp_path / "out") as third:
        assert elsewhere.acquire("case0")
        assert elsewhere.acquire("case1")

        def look() -> None:
            # case0 is done by then, and case1 waited for.
            free.append(third.acquire("case0", 0.5))
            elsewhere.release("case1")

        class Told(_Told):
            def ended(self, name: str, outcome: str, message: str = "") -> None:
                super().ended(name, outcome, message)
                if name == "case3":
                    elsewhere.release("case0")
                elif name == "case0":
                    threading.Timer(0.3, look).start()

        told = Told()
        run_cases(_order(scans, tmp_path / "out"), told, detector=BrightnessDetector(size=32))
    assert told.ended_cases == ["case2", "case3", "case0", "case1"]
    assert free == [True]


def test_a_run_that_is_stopped_while_it_waits_for_another_one_ends(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_module, "_LOOK_S", 0.05)

    class Impatient(Silent):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def step(self, text: str, done: int | None = None) -> None:
            self.seen.append(text)
            if self.seen.count("case0") == 2:
                raise KeyboardInterrupt

    with CaseLocks(tmp_path / "out") as elsewhere:
        assert elsewhere.acquire("case0")
        with pytest.raises(KeyboardInterrupt):
            run_cases(_order(scans, tmp_path / "out"), Impatient(), detector=BrightnessDetector(size=32))
    assert {path.name for path in (tmp_path / "out").glob("case*")} == {"case1", "case2", "case3"}


def test_work_that_is_sent_to_another_process_leaves_the_model_behind(tmp_path: Path) -> None:
    work = CaseWork(tmp_path, make_config(OPTIONS), load=detectors.load_brightness)
    detector = work.runner.detector
    assert work.runner.detector is detector
    sent = pickle.loads(pickle.dumps(work))
    assert sent == work
    assert sent.runner.detector is not detector
