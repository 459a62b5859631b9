"""A detector with all that its scores of an evaluation depend on, and pictures to kept scores."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzsad.config import Precision, ResizeRule
from medzsad.datasets.pictures import UNREADABLE, decode_image, strict_pillow
from medzsad.datasets.records import DataSet, Record, relative_name
from medzsad.errors import ConfigError
from medzsad.evaluation.protocol import Protocol, model_input, raw_score
from medzsad.evaluation.score_cache import KeptScores
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.progress import Observer
from medzsad.scoring.engine import score_batch
from medzsad.version import __version__

_THREADS = 2  # that decode pictures


@dataclass(frozen=True, slots=True)
class BenchmarkScorer:
    """Scores images of one benchmark.

    Attributes:
        detector: Ready to score.
        word: For the prompts of all classes; "" calls each class by its name in the data.
        seed: Of the prompt samples.
        precision: Arithmetic of the model.
        batch_size: Images at once; changes no score.
    """

    detector: Detector
    word: str = ""
    seed: int = 0
    precision: Precision = "float32"
    batch_size: int = 8

    @property
    def side(self) -> int:
        """Of the model's square, in pixels."""
        return self.detector.spec.image_size

    @property
    def device(self) -> torch.device:
        """Where the detector runs."""
        return self.detector.device

    def called(self, class_name: str) -> str:
        """The word for a class in the prompts; "" for a model that uses none.

        Raises:
            ConfigError: The weights do not know it.
        """
        if not self.detector.model.uses_class_names:
            return ""
        try:
            return self.detector.word(self.word or class_name)
        except ConfigError as error:
            raise ConfigError(f"{error} Call all images by one of these with --class-name.") from None

    def score(self, images: Sequence[Tensor], class_names: Sequence[str]) -> list[tuple[NDArray[np.float32], float]]:
        """Map (side, side) and image probability of each normalized image (3, side, side).

        Args:
            images: A batch.
            class_names: Of the data, one each.
        """
        scores: list[tuple[NDArray[np.float32], float]] = []
        words = {name: self.called(name) for name in set(class_names)}
        for word, start, stop in _runs([words[name] for name in class_names]):
            batch = torch.stack(list(images[start:stop]))
            for maps, _, probabilities in score_batch(
                self.detector, batch, word, SharedNoise(self.seed), self.device, self.precision
            ):
                scores += [(one, float(p)) for one, p in zip(maps, probabilities, strict=True)]
        return scores

    def key(self, resize: ResizeRule) -> dict[str, Any]:
        """All that the scores depend on but the images, as JSON holds it."""
        told = self.detector.card.told(self.word)
        # Where no guide is, its digest is left out, as in scores that were kept before there were guides.
        left_out = set() if told.guide_sha256 else {"guide_sha256"}
        return {
            "medzsad_version": __version__,
            "model": told.model_dump(mode="json", exclude=left_out),
            "image_size": self.side,
            "resize": resize,
            "seed": self.seed,
            "precision": self.precision,
        }


def _runs(words: Sequence[str]) -> list[tuple[str, int, int]]:
    """Stretches of equal words: (word, start, stop)."""
    starts = [place for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
    return [(words[start], start, stop) for start, stop in zip(starts, [*starts[1:], len(words)], strict=True)]


def score_pictures(
    data: DataSet, scorer: BenchmarkScorer, protocol: Protocol, kept: KeptScores, observer: Observer
) -> None:
    """Scores every picture that has no kept score yet; after an interruption, the next call continues.

    Args:
        data: Checked, without bad records.
        scorer: The model.
        protocol: How pictures become squares.
        kept: Where scores go.
        observer: Receives the progress events.

    Raises:
        ConfigError: A picture can no longer be decoded.
        ScoringError: The model returned a score that is not finite.
        OutputError: A score cannot be kept.
    """
    # A class at a time, so that a batch has one word.
    ordered = sorted(data.records, key=lambda record: record.class_name)
    pending = [record for record in ordered if kept.find(relative_name(data.root, record.image), record.image) is None]
    total, done = len(ordered), len(ordered) - len(pending)
    observer.started("scoring", total, "images")
    with strict_pillow(), ThreadPoolExecutor(_THREADS) as pool:

        def decode(start: int) -> "Future[list[Tensor]]":
            batch = pending[start : start + scorer.batch_size]
            return pool.submit(lambda: [_input(record, protocol, scorer.side) for record in batch])

        # The next batch is decoded while this one is scored.
        following = decode(0)
        for start in range(0, len(pending), scorer.batch_size):
            batch, images = pending[start : start + scorer.batch_size], following.result()
            following = decode(start + scorer.batch_size)
            scores = scorer.score(images, [record.class_name for record in batch])
            for record, (score_map, probability) in zip(batch, scores, strict=True):
                name = relative_name(data.root, record.image)
                kept.add(name, record.image, raw_score(probability, score_map), score_map)
            done += len(batch)
            observer.step("scoring", done)


def _input(record: Record, protocol: Protocol, side: int) -> Tensor:
    try:
        return model_input(protocol, decode_image(record.image), side)
    except UNREADABLE as error:
        raise ConfigError(
            f"Cannot decode {record.image} ({error.__class__.__name__}), though it could be checked before. Replace it "
            "and start again: scores so far are kept."
        ) from None
