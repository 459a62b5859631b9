"""Progress of a training on stderr: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress

from medzsad.progress import stderr_console

_LINE_EVERY = 10  # steps


class TrainObserver(Protocol):
    """Is told how a training goes on."""

    def note(self, text: str) -> None:
        """Something has begun or was found."""

    def step(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """`done` of `total` steps of all epochs are over."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch is over."""


class SilentTraining:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def step(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """Says nothing."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Says nothing."""


class Lines:
    """One line per epoch and every few steps.

    Args:
        console: Where to.
        bar: Moved instead of printing lines for steps.
    """

    def __init__(self, console: Console, bar: Progress | None = None) -> None:
        self._console, self._bar = console, bar
        self._task = None if bar is None else bar.add_task("training", total=None)

    def note(self, text: str) -> None:
        """Prints the text."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """Moves the bar, or prints every few steps."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=f"loss {sum(losses.values()):.3f}")
        elif done % _LINE_EVERY == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self.note(f"step {done} of at most {total}: {parts}")

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Prints one line."""
        figures = ", ".join(
            f"{name.replace('_', ' ')} {'undefined' if value is None else format(value, '.3f')}"
            for name, value in record["validation"].items()
        )
        mark = " (best)" if record["improved"] else ""
        self.note(f"epoch {record['epoch'] + 1}, stage {record['stage']}, {record['seconds']:.0f} s: {figures}{mark}")


@contextmanager
def training_observer(enabled: bool = True) -> Iterator[TrainObserver]:
    """An observer for stderr; a silent one if `enabled` is false."""
    if not enabled:
        yield SilentTraining()
        return
    with stderr_console() as (console, bar):
        yield Lines(console, bar)
