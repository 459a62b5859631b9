"""What a case was made of, whatever its result."""

from dataclasses import dataclass

from medzsad.config import RunConfig
from medzsad.scan.records import Candidate
from medzsad.weights.card import ModelCard


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What a case was made of, whatever its result.

    Attributes:
        candidate: What was found.
        content_sha256: Digest of the input's bytes; "" if they could not be read.
        key: Identifies input, options and weights; a case with an equal key is done.
        config: The resolved options of the run.
        model: The model of the run.
    """

    candidate: Candidate
    content_sha256: str
    key: str
    config: RunConfig
    model: ModelCard
