"""Pictures of a data set to kept scores."""

from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from medzsad.datasets.pictures import UNREADABLE, decode_image, strict_pillow
from medzsad.datasets.records import DataSet, Record, relative_name
from medzsad.errors import ConfigError
from medzsad.evaluation.kept import KeptScores
from medzsad.evaluation.observer import EvaluationObserver
from medzsad.evaluation.protocol import Protocol, model_input, raw_score
from medzsad.evaluation.scorer import Scorer

_THREADS = 2


def score_pictures(
    data: DataSet, scorer: Scorer, protocol: Protocol, kept: KeptScores, observer: EvaluationObserver
) -> None:
    """Scores every picture that has no kept score yet; interrupted, the next call goes on.

    Args:
        data: Checked, without bad records.
        scorer: The model.
        protocol: How pictures become squares.
        kept: Where scores go.
        observer: Is told how it goes on.

    Raises:
        ConfigError: A picture can no longer be decoded.
        ScoringError: The model gave a score that is no number.
        OutputError: A score cannot be kept.
    """
    # A class at a time, so that a batch has one word.
    ordered = sorted(data.records, key=lambda record: record.class_name)
    pending = [record for record in ordered if kept.find(relative_name(data.root, record.image), record.image) is None]
    total, done = len(ordered), len(ordered) - len(pending)
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
            observer.step("scoring", done, total)


def _input(record: Record, protocol: Protocol, side: int) -> Tensor:
    try:
        return model_input(protocol, decode_image(record.image), side)
    except UNREADABLE as error:
        raise ConfigError(
            f"Cannot decode {record.image} ({error.__class__.__name__}), though it could be checked before. Replace it "
            "and start again: scores so far are kept."
        ) from None
