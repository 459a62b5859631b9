"""What a training says about its steps and epochs while it runs."""

from collections.abc import Mapping
from typing import Any


def losses_text(losses: Mapping[str, float]) -> str:
    """The loss of a step and its parts, such as "loss 0.523 (focal 0.300, dice 0.223)"."""
    parts = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
    return f"loss {sum(losses.values()):.3f} ({parts})"


def epoch_text(record: Mapping[str, Any]) -> str:
    """One line on an epoch: stage, seconds and validation metrics, with a mark on the best so far.

    Args:
        record: As in history.json.
    """
    mark = " (best)" if record["improved"] else ""
    metrics = metrics_text(record["validation"])
    return f"epoch {record['epoch'] + 1}, stage {record['stage']}, {record['seconds']:.0f} s: {metrics}{mark}"


def metrics_text(validation: Mapping[str, float | None]) -> str:
    """The metrics of a validation, such as "pixel ap 0.523, image ap undefined"."""
    return ", ".join(
        f"{name.replace('_', ' ')} {'undefined' if value is None else format(value, '.3f')}"
        for name, value in validation.items()
    )
