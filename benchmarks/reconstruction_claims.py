"""Claims about the reconstructions: which figures each compares, how often it wins, and the table of all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

# How the first figure wins against the others: it is the higher or the lower; it is 0 and they are not; or it is above
# one half, whatever they are.
Rule = Literal["higher", "lower", "zero", "half"]

Figures = dict[str, float]

_SHARE_THAT_HOLDS = 5 / 6


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence and the figures that decide on it.

    Attributes:
        text: What is claimed.
        figures: Names of figures, each with the words for it in the table; the first is the one that should win.
        rule: How it wins.
    """

    text: str
    figures: Mapping[str, str]
    rule: Rule = "higher"

    def won(self, measured: Mapping[str, float]) -> bool:
        """Whether the claim is true of the figures of one seed; where figures are equal it is not."""
        first, *others = (measured[name] for name in self.figures)
        if self.rule == "zero":
            return first == 0 and 0 not in others
        if self.rule == "half":
            return first > 0.5
        return all(first > other if self.rule == "higher" else first < other for other in others)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim after all seeds.

    Attributes:
        claim: What was claimed.
        means: The mean over seeds of each of its figures, by name.
        won: In how many seeds it is true.
        seeds: Of how many.
    """

    claim: Claim
    means: Figures
    won: int
    seeds: int

    @property
    def holds(self) -> bool:
        """Whether it is true in at least five of six seeds."""
        return self.won >= math.ceil(_SHARE_THAT_HOLDS * self.seeds)

    def record(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "claim": self.claim.text,
            "rule": self.claim.rule,
            "means": {name: round(value, 6) for name, value in self.means.items()},
            "won": self.won,
            "seeds": self.seeds,
            "holds": self.holds,
        }


def judged(claim: Claim, runs: Sequence[Mapping[str, float]]) -> Verdict:
    """The verdict on a claim after runs with one seed each."""
    means = {name: fmean(run[name] for run in runs) for name in claim.figures}
    return Verdict(claim, means, sum(claim.won(run) for run in runs), len(runs))


def _written(value: float) -> str:
    """Three digits after the point for the size of an AUROC, else as short as it gets."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.0e}"


def table(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """All verdicts as a Markdown table, by part of the reconstructions."""
    lines = ["| part | claim | values | seeds won | holds |", "| --- | --- | --- | --- | --- |"]
    for part, found in verdicts.items():
        for one in found:
            named = zip(one.claim.figures.values(), one.means.values(), strict=True)
            values = ", ".join(f"{words} {_written(value)}" for words, value in named)
            answer = "yes" if one.holds else "**no**"
            lines.append(f"| {part} | {one.claim.text} | {values} | {one.won} of {one.seeds} | {answer} |")
    return "\n".join(lines)
