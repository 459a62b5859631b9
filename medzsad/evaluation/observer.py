"""Progress of an evaluation on stderr: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress

from medzsad.progress import stderr_console


class EvaluationObserver(Protocol):
    """Is told how an evaluation goes on."""

    def note(self, text: str) -> None:
        """Something has begun or was found."""

    def step(self, work: str, done: int, total: int) -> None:
        """`done` of `total` images are through with `work`."""


class SilentEvaluation:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def step(self, work: str, done: int, total: int) -> None:
        """Says nothing."""


class EvaluationLines:
    """Lines for what begins, and a bar where there is a terminal.

    Args:
        console: Where to.
        bar: Moved for steps; None shows none.
    """

    def __init__(self, console: Console, bar: Progress | None = None) -> None:
        self._console, self._bar = console, bar
        self._task = None if bar is None else bar.add_task("reading", total=None)

    def note(self, text: str) -> None:
        """Prints the text."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, work: str, done: int, total: int) -> None:
        """Moves the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=work.replace("[", "\\["))


@contextmanager
def evaluation_observer(enabled: bool = True) -> Iterator[EvaluationObserver]:
    """An observer for stderr; a silent one if `enabled` is false."""
    if not enabled:
        yield SilentEvaluation()
        return
    with stderr_console() as (console, bar):
        yield EvaluationLines(console, bar)
