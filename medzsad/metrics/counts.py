"""Scores of any number of pixels, counted value by value: exact, in memory that does not grow with their number."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ScoringError

# Scores are counted under the bit pattern of their float32 number. Patterns with the same upper bits share a block, so
# scores between 2^-10 and 1 fill at most 80 blocks. A fresh block takes memory only where it is written to.
_LOW_BITS = 20
_BLOCK = 1 << _LOW_BITS
_SIGN = np.uint32(0x80000000)

Unsigned = NDArray[Any]

NOT_FINITE = (
    "The model returned non-finite scores (NaN or infinity). The weights or the kept scores are damaged: get the "
    "weights again, or evaluate into an empty folder."
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often some distinct scores occurred, from the highest down.

    Attributes:
        scores: (n,) falling, all different.
        negatives: (n,) pixels without a lesion.
        positives: (n,) pixels with one.
        weights: (n,) sum of the weights of the positives; empty where none were given.
    """

    scores: NDArray[np.floating]
    negatives: NDArray[np.float64]
    positives: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(slots=True)
class _Block:
    negatives: Unsigned | None = None
    positives: Unsigned | None = None
    weights: NDArray[np.float64] | None = None


@dataclass(slots=True)
class ScoreCounts:
    """Counts of float32 scores, as many as there are; equal results whatever the order of adding.

    Attributes:
        negatives: Number of negatives so far.
        positives: Number of positives so far.
        weight: Sum of the weights of the positives so far.
    """

    negatives: int = 0
    positives: int = 0
    weight: float = 0.0
    _blocks: dict[int, _Block] = field(default_factory=dict)

    def add(
        self,
        negatives: NDArray[np.float32],
        positives: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Counts more scores.

        Args:
            negatives: (n,) rising scores of pixels without a lesion.
            positives: (m,) rising scores of pixels with one.
            weights: (m,) of the positives.

        Raises:
            ScoringError: A score is not a finite number.
        """
        for scores in (negatives, positives):
            # Rising order puts NaN at the end.
            if scores.size and not (np.isfinite(scores[0]) and np.isfinite(scores[-1])):
                raise ScoringError(NOT_FINITE)
        self.negatives += negatives.size
        self.positives += positives.size
        keys = _keys(negatives)
        for number, part in _by_block(keys):
            block = self._blocks.setdefault(number, _Block())
            block.negatives = _counted(block.negatives, keys[part])
        keys = _keys(positives)
        for number, part in _by_block(keys):
            block = self._blocks.setdefault(number, _Block())
            block.positives = _counted(block.positives, keys[part])
            if weights is not None:
                if block.weights is None:
                    block.weights = np.zeros(_BLOCK)
                low, starts = _distinct(keys[part])
                block.weights[low] += np.add.reduceat(weights[part], starts)
        if weights is not None:
            self.weight += float(weights.sum())

    def tallies(self) -> Iterator[Tally]:
        """All that was counted, from the highest score down, in parts of bounded size."""
        for number in sorted(self._blocks, reverse=True):
            block = self._blocks[number]
            seen = np.zeros(_BLOCK, bool)
            for counts in (block.negatives, block.positives):
                if counts is not None:
                    seen |= counts > 0
            low = np.flatnonzero(seen)[::-1]
            negatives, positives = (
                np.zeros(len(low)) if counts is None else counts[low].astype(np.float64)
                for counts in (block.negatives, block.positives)
            )
            weights = np.zeros(len(low)) if block.weights is None else block.weights[low]
            keys = low.astype(np.uint32) | np.uint32(number << _LOW_BITS)
            yield Tally(_scores(keys), negatives, positives, weights)


def array_tallies(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Iterator[Tally]:
    """The scores of an array in memory as one part, in the precision that they have.

    Args:
        scores: (n,) finite.
        labels: (n,) True for positives.
    """
    values, owner = np.unique(scores, return_inverse=True)
    positives = np.bincount(owner[labels], minlength=len(values)).astype(np.float64)
    negatives = np.bincount(owner[~labels], minlength=len(values)).astype(np.float64)
    yield Tally(values[::-1], negatives[::-1], positives[::-1], np.zeros(0))


def _keys(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned numbers in the order of the scores; -0.0 counts as 0.0."""
    bits = (scores + np.float32(0)).view(np.uint32)
    if scores.size and scores[0] < 0:
        return np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return bits | _SIGN


def _scores(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)


def _by_block(keys: NDArray[np.uint32]) -> Iterator[tuple[int, slice]]:
    """Numbers of the blocks in which rising keys lie, with where."""
    if not keys.size:
        return
    first, last = int(keys[0]) >> _LOW_BITS, int(keys[-1]) >> _LOW_BITS
    edges = np.arange(first + 1, last + 1, dtype=np.uint64) << np.uint64(_LOW_BITS)
    starts = np.concatenate([[0], np.searchsorted(keys, edges.astype(np.uint32)), [len(keys)]])
    for place in np.flatnonzero(np.diff(starts)):
        yield first + int(place), slice(int(starts[place]), int(starts[place + 1]))


def _counted(counts: Unsigned | None, keys: NDArray[np.uint32]) -> Unsigned:
    """The counts with rising keys of their block added."""
    if counts is None:
        counts = np.zeros(_BLOCK, np.uint32)
    low, starts = _distinct(keys)
    times = np.diff(starts, append=len(keys)).astype(counts.dtype)
    total = counts[low] + times
    if counts.dtype == np.uint32 and (total < times).any():
        # More than 4 billion pixels with one and the same score, such as the background of many volumes.
        counts = counts.astype(np.uint64)
        total = counts[low] + times
    counts[low] = total
    return counts


def _distinct(keys: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places within their block of the distinct ones of rising keys, and where each begins among the keys."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return (keys[starts] & np.uint32(_BLOCK - 1)).astype(np.intp), starts
