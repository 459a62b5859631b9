"""Several detectors as one: scores are compared with those of normal images under the same weights, then averaged."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from medzsad.errors import ConfigError
from medzsad.methods.detector import Detector
from medzsad.weights.card import WeightsCard

_NAME = "ensemble"
# Share of normal pixels that reaches a comparable score of 0.5: that of the thresholds of `medzsad train`.
HALF_SHARE = 0.005
_HALF = -math.log10(HALF_SHARE)
_NEAREST = 1e-6  # scores of 0 and 1 are taken for this far from them


class Ensemble:  # not a Detector: its members may have towers and image sizes of their own
    """Detectors whose comparable scores are averaged.

    Args:
        members: At least two, with different weights that hold their `normal_scores`.

    Raises:
        ConfigError: There is one only, the same weights come twice, or one does not know its normal scores.
    """

    def __init__(self, members: Sequence[Detector]) -> None:
        cards = [member.card for member in members]
        if len(cards) < 2:
            raise ConfigError("An ensemble needs two weights or more.")
        for number, card in enumerate(cards):
            if any(card.sha256 == other.sha256 for other in cards[:number]):
                raise ConfigError(f"The weights {card.name} are named twice; name each once.")
            if not card.normal_scores:
                raise ConfigError(
                    f"The weights {card.name} do not say which scores normal images get, so their scores cannot be "
                    "averaged with others. Only weights that medzsad has trained or calibrated can be members."
                )
        self.members = tuple(members)
        self.card = _card_of(cards)

    @property
    def device(self) -> torch.device:
        """Where the members run."""
        return self.members[0].device

    def word(self, wanted: str | None = None) -> str:
        """The words for the object in the members' prompts, each once; "" if none takes part.

        Raises:
            ConfigError: No member uses a word, or a tower has no embedding of this one.
        """
        words = [self.word_of(member, wanted) for member in self.members]
        if wanted and not any(words):
            raise ConfigError(f"No method of the ensemble uses a class name, so {wanted!r} would do nothing.")
        return ", ".join(dict.fromkeys(word for word in words if word))

    def word_of(self, member: Detector, wanted: str | None) -> str:
        """The word in the prompts of one member; a wanted one is for those that use words."""
        return member.word(wanted if member.uses_class_names else None)


def _card_of(cards: Sequence[WeightsCard]) -> WeightsCard:
    told = [_digests(card) for card in cards]
    parts = sorted(" ".join(value for name, value in one.items() if name.endswith("sha256")) for one in told)
    digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    return WeightsCard(
        name=" + ".join(card.name for card in cards),
        method=_NAME,
        options={"members": told},
        samples=max(card.samples for card in cards),
        threshold=0.5,
        threshold_provenance=(
            f"{HALF_SHARE:.1%} of normal pixels reach it on average: each member's scores are compared with those that "
            "normal images of its calibration get"
        ),
        license="; ".join(dict.fromkeys(card.license for card in cards if card.license)),
        source="; ".join(dict.fromkeys(card.source for card in cards if card.source)),
        trained_on=" ".join(dict.fromkeys(card.trained_on for card in cards if card.trained_on)),
        description=f"The mean of the comparable scores of {len(cards)} weights.",
        spec=cards[0].spec,
        sha256=digest,
    )


def _digests(card: WeightsCard) -> dict[str, str]:
    found = {"name": card.name, "method": card.method, "sha256": card.sha256, "clip_sha256": card.clip_sha256}
    return found | ({"guide_sha256": card.guide_sha256} if card.guide_sha256 else {})


def comparable_score(score: NDArray[np.float32], normal_scores: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Scores in [0, 1) that mean the same under all weights: 0.5 is reached by half a percent of normal pixels.

    With p the share of normal pixels that reach a score, the result is x / (x + 2.301) with x = -log10(p). Between
    the kept scores x is linear in the logit of the score, below them it falls to 0, above them it goes on as it rose.

    Args:
        score: In [0, 1], any shape.
        normal_scores: Rising (score, share) pairs of the weights.
    """
    places, rarities = _curve(normal_scores)
    at = logit(np.clip(score.astype(np.float64), _NEAREST, 1.0 - _NEAREST))
    rarity = np.interp(at, places, rarities)
    return np.asarray(rarity / (rarity + _HALF), np.float32)


def _curve(normal_scores: Sequence[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rising logits, and -log10 of the share of normal pixels at each; from the smallest logit to the largest."""
    end = float(logit(1.0 - _NEAREST))
    places, rarities = [-end], [0.0]
    for score, share in normal_scores:
        place = float(logit(min(max(score, _NEAREST), 1.0 - _NEAREST)))
        if place > places[-1]:  # of several shares with one score, the largest is the one that was measured
            places.append(place)
            rarities.append(-math.log10(share))
    if places[-1] < end and len(places) > 2:
        slope = (rarities[-1] - rarities[-2]) / (places[-1] - places[-2])
        rarities.append(rarities[-1] + slope * (end - places[-1]))
        places.append(end)
    return np.array(places), np.array(rarities)


# What a run scores with.
Model = Detector | Ensemble
