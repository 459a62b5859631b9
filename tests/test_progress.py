"""Progress: a bar on a terminal, silence elsewhere."""

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from medzsad.progress import Bar, Silent, progress_observer


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_observer() as observer:
        assert isinstance(observer, Silent)
        observer.started(2)
        observer.case_started("a")
        observer.case_ended("a", "lesion", "")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_terminal_gets_a_bar_that_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_observer(enabled=False) as observer:
        assert isinstance(observer, Silent)
    with progress_observer() as observer:
        assert isinstance(observer, Bar)


def test_each_case_gets_one_line_and_brackets_in_names_are_no_markup() -> None:
    stream = StringIO()
    with Progress(console=Console(file=stream, width=120)) as progress:
        bar = Bar(progress)
        bar.started(1)
        bar.case_started("[red]case")
        bar.case_ended("[red]case", "refused", "GEOMETRY_GAP [5 mm]")
    assert "refused  [red]case  GEOMETRY_GAP [5 mm]" in stream.getvalue()
