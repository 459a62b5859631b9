"""Progress on stderr: a bar with rate and remaining time on a terminal, plain lines or silence elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_STYLE = {"lesion": "yellow", "no_lesion": "green", "refused": "magenta", "failed": "red"}
_DESCRIPTION = 40  # signs beside the bar
_LINE_SECONDS = 10.0  # between two lines about steps where there is no bar


class Observer(Protocol):
    """Receives the progress events of a run, a training or an evaluation."""

    def started(self, work: str, total: int, unit: str = "") -> None:
        """Work begins that has `total` parts, counted in `unit`, such as "cases"."""

    def note(self, text: str) -> None:
        """Something was found or decided."""

    def step(self, text: str, done: int | None = None) -> None:
        """`text` is under way; `done` parts of the work are over, None if that did not change."""

    def ended(self, name: str, outcome: str, message: str = "") -> None:
        """One part of the work ended with an outcome of its own; `message` is the reason, or ""."""


class Silent:
    """An observer that says nothing."""

    def started(self, work: str, total: int, unit: str = "") -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def step(self, text: str, done: int | None = None) -> None:
        """Says nothing."""

    def ended(self, name: str, outcome: str, message: str = "") -> None:
        """Says nothing."""


class Bar:
    """An observer that draws a rich progress bar and prints notes and outcomes above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None, unit="")

    def started(self, work: str, total: int, unit: str = "") -> None:
        """Starts the bar from zero."""
        self._progress.reset(self._task, total=total, description=_beside_bar(work), unit=unit)

    def note(self, text: str) -> None:
        """Prints the text."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, text: str, done: int | None = None) -> None:
        """Shows what is under way and moves the bar."""
        self._progress.update(self._task, description=_beside_bar(text), completed=done)

    def ended(self, name: str, outcome: str, message: str = "") -> None:
        """Prints one line, with the reason as far as it fits, and moves the bar."""
        line = Text.assemble((outcome.rjust(10), _STYLE.get(outcome, "dim")), "  ", name)
        if message:
            line.append("  ").append(message, "dim")
        self._progress.console.print(line, no_wrap=True, overflow="ellipsis")
        self._progress.advance(self._task)


class Lines:
    """An observer that prints plain lines, for logs: notes, outcomes, and now and then how far the work is.

    Args:
        console: Where to.
        clock: Seconds that never go back.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._total = 0
        self._last = clock()

    def started(self, work: str, total: int, unit: str = "") -> None:
        """Counts from here."""
        self._total, self._last = total, self._clock()

    def note(self, text: str) -> None:
        """Prints the text."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, text: str, done: int | None = None) -> None:
        """Prints a line if the last one is ten seconds old."""
        if done is None or self._clock() - self._last < _LINE_SECONDS:
            return
        self._last = self._clock()
        self.note(f"{done} of {self._total}: {text}")

    def ended(self, name: str, outcome: str, message: str = "") -> None:
        """Prints one line."""
        self.note(f"{outcome}  {name}" + (f"  {message}" if message else ""))


def _beside_bar(text: str) -> str:
    return text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 1] + "…"


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit")
        return Text(f"{task.speed * 60:.1f} {unit}/min" if task.speed and unit else "", style="dim")


@contextmanager
def console_observer(enabled: bool = True, plain_lines: bool = True) -> Iterator[Observer]:
    """An observer for stderr.

    Args:
        enabled: False gives a silent one.
        plain_lines: Print plain lines where stderr is no terminal; False is silent there.
    """
    console = Console(stderr=True)
    if not enabled or not (console.is_terminal or plain_lines):
        yield Silent()
        return
    if not console.is_terminal:
        yield Lines(console)
        return
    with progress_bar(console) as progress:
        yield Bar(progress)


def progress_bar(console: Console) -> Progress:
    """The bar, not yet shown and gone in the end: what is under way, how much is over, how fast, how long to go."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # names may hold what rich would read as markup
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
