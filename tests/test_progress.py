"""Progress: a bar on a terminal, plain lines or silence elsewhere."""

import re
from io import StringIO

import pytest
from rich.console import Console

from medzsad.progress import Bar, Lines, Silent, console_observer, progress_bar


def test_a_run_draws_nothing_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console_observer(plain_lines=False) as observer:
        assert isinstance(observer, Silent)
        observer.started("reading", 2, "cases")
        observer.note("a note")
        observer.step("a")
        observer.ended("a", "lesion")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_plain_lines_hold_no_bar_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with console_observer() as observer:
        observer.started("scoring", 2, "images")
        observer.note("[red]set: " + "reading " * 30)
        observer.step("scoring", 1)
        observer.ended("[b]case", "refused", "GEOMETRY_GAP [5 mm]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "[red]set: " + "reading " * 30 + "\nrefused  [b]case  GEOMETRY_GAP [5 mm]\n"


def test_plain_lines_tell_of_steps_every_ten_seconds() -> None:
    stream, now = StringIO(), [0.0]
    lines = Lines(Console(file=stream, width=200), clock=lambda: now[0])
    lines.started("training", 300)
    for second in range(26):
        now[0] = float(second)
        lines.step(f"loss {second}", 10 * second)
    assert stream.getvalue() == "100 of 300: loss 10\n200 of 300: loss 20\n"


def test_a_terminal_gets_a_bar_that_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console_observer(enabled=False) as observer:
        assert isinstance(observer, Silent)
    with console_observer() as observer:
        assert isinstance(observer, Bar)


def test_each_case_gets_one_line_and_brackets_in_names_are_no_markup() -> None:
    stream = StringIO()
    with progress_bar(Console(file=stream, width=120)) as progress:
        bar = Bar(progress)
        bar.started("reading", 1, "cases")
        bar.step("[red]case")
        bar.ended("[red]case", "refused", "GEOMETRY_GAP [5 mm]")
        bar.ended("folder\\", "failed", "[/] \\[b]")
    assert "refused  [red]case  GEOMETRY_GAP [5 mm]" in stream.getvalue()
    assert "failed  folder\\  [/] \\[b]" in stream.getvalue()


def test_a_long_reason_is_cut_to_the_line_and_no_bar_is_left_in_the_end() -> None:
    stream = StringIO()
    with progress_bar(Console(file=stream, width=60, force_terminal=True)) as progress:
        bar = Bar(progress)
        bar.started("reading", 2, "cases")
        bar.ended("first", "refused", "it is " + "very " * 40 + "long")
        bar.ended("second", "lesion")
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", stream.getvalue())]
    told = [line.strip() for line in lines if "refused" in line or "lesion" in line or "very" in line]
    assert [line.split()[0] for line in told] == ["refused", "lesion"]
    assert told[0].endswith("…")
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K")  # the line of the bar is wiped


def test_the_bar_begins_anew_with_each_work_and_follows_it() -> None:
    with progress_bar(Console(file=StringIO())) as progress:
        bar = Bar(progress)
        bar.started("scoring", 3, "images")
        bar.step("scoring [b]", 2)
        (task,) = progress.tasks
        assert (task.completed, task.total, task.description) == (2, 3, "scoring [b]")
        bar.started("measuring " + "x" * 90, 5)
        assert (task.completed, task.total, len(task.description)) == (0, 5, 40)
        bar.ended("a", "lesion")
        bar.step("b")
        assert (task.completed, task.description) == (1, "b")
