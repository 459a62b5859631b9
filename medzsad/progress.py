"""Progress on stderr: bars with remaining time on a terminal; of a run also the rate, and silence elsewhere."""

from collections.abc import Iterator
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


class Observer(Protocol):
    """Is told how a run goes on."""

    def started(self, total: int) -> None:
        """The run begins with `total` cases."""

    def case_started(self, name: str) -> None:
        """A case begins."""

    def case_ended(self, name: str, outcome: str, message: str) -> None:
        """A case ended; `message` is its reason, or ""."""


class Silent:
    """An observer that says nothing."""

    def started(self, total: int) -> None:
        """Says nothing."""

    def case_started(self, name: str) -> None:
        """Says nothing."""

    def case_ended(self, name: str, outcome: str, message: str) -> None:
        """Says nothing."""


_STYLE = {"lesion": "yellow", "no_lesion": "green", "refused": "magenta", "failed": "red"}


class Bar:
    """An observer that draws a rich progress bar and one line per case."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)

    def started(self, total: int) -> None:
        """Sets the length of the bar."""
        self._progress.update(self._task, total=total)

    def case_started(self, name: str) -> None:
        """Shows the case under way."""
        self._progress.update(self._task, description=name[:40])

    def case_ended(self, name: str, outcome: str, message: str) -> None:
        """Prints one line and moves the bar."""
        style = _STYLE.get(outcome, "dim")
        line = f"[{style}]{outcome:>10}[/]  {_plain(name)}"
        self._progress.console.print(line + (f"  [dim]{_plain(message)}[/]" if message else ""), highlight=False)
        self._progress.advance(self._task)


def _plain(text: str) -> str:
    # File names may hold what rich would read as markup.
    return text.replace("[", "\\[")


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * 60:.1f} cases/min" if task.speed else "", style="dim")


@contextmanager
def progress_observer(enabled: bool = True) -> Iterator[Observer]:
    """An observer for the terminal; a silent one if stderr is not a terminal or `enabled` is false."""
    console = Console(stderr=True)
    if not (enabled and console.is_terminal):
        yield Silent()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress)


@contextmanager
def stderr_console() -> Iterator[tuple[Console, Progress | None]]:
    """The console of stderr, and on a terminal a bar for steps; for work that also prints lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield console, None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield console, bar
