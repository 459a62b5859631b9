"""Cut-offs from healthy scans: how strong a candidate must be, so that few of them are called `lesion`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from medzsad.config import Sensitivity

# Share of healthy scans that each level aims to call `lesion`, at most.
AIMS: dict[Sensitivity, float] = {"high": 0.20, "balanced": 0.05, "low": 0.01}
LEVELS: tuple[Sensitivity, ...] = get_args(Sensitivity)


@dataclass(frozen=True, slots=True)
class Cutoff:
    """A cut-off and what it does to the scans that chose it.

    Attributes:
        value: What reaches it is a lesion; None where everything is.
        share: Share of the scans that are called `lesion`.
        supported: Share of further scans of the same kind that is to be expected at most; with n scans never below
            1 / (n + 1), however small the aim is.
    """

    value: float | None
    share: float
    supported: float


def level_cutoffs(highest: Sequence[float | None], just_above: Callable[[float], float]) -> dict[Sensitivity, Cutoff]:
    """The smallest cut-off of each level that keeps the share of healthy scans called `lesion` within its aim.

    Args:
        highest: Of each healthy scan the highest evidence or score; None where it has no candidate.
        just_above: The next value that a cut-off can take.
    """
    return {level: cutoff_for(highest, aim, just_above) for level, aim in AIMS.items()}


def cutoff_for(highest: Sequence[float | None], aim: float, just_above: Callable[[float], float]) -> Cutoff:
    """The smallest cut-off that keeps the share of healthy scans called `lesion` within an aim; see `level_cutoffs`."""
    count = len(highest)
    falling = sorted((value for value in highest if value is not None), reverse=True)
    allowed = int(aim * count + 1e-9)
    value = just_above(falling[allowed]) if allowed < len(falling) else None
    called = sum(value is None or one >= value for one in falling)
    return Cutoff(value, called / count, min((allowed + 1) / (count + 1), 1.0))


def share_at_least(highest: Sequence[float | None], value: float) -> float:
    """Share of the healthy scans whose highest evidence or score is at least `value`."""
    return sum(one is not None and one >= value for one in highest) / len(highest)


def one_in(share: float, scans: int) -> str:
    """A share of healthy scans in words, such as "1 in 20" or, where none of them had it, "fewer than 1 in 200"."""
    if share * scans < 0.5:
        return f"fewer than 1 in {scans}"
    if share > 0.4:
        return f"{round(10 * share)} in 10"
    return f"1 in {round(1 / share)}"
