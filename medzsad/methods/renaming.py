"""What importers share: tables of names, and the tensors of an authors' checkpoint with every key accounted for."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from medzsad.errors import WeightsError

Renames = Sequence[tuple[str, str]]


def renamed(key: str, renames: Renames) -> str | None:
    """Our name of one of the authors' tensors; None if the table has none.

    Args:
        key: Theirs.
        renames: Patterns of whole names, and what they become; the first that fits counts.
    """
    for pattern, name in renames:
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    return None


def tensors_under(content: Mapping[str, Any], top: str, title: str, path: Path) -> dict[str, Tensor]:
    """The state dict that a checkpoint holds under `top`.

    Args:
        content: Of the file.
        top: Key of the state dict.
        title: Of the method, for messages.
        path: Of the file, for messages.

    Raises:
        WeightsError: It holds more than tensors.
    """
    state = content[top]
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path.name} is not a checkpoint of {title}: {top} holds more than tensors.")
    return {str(name): value for name, value in state.items()}


def accounted_for(
    official: Mapping[str, Tensor], renames: Renames, ignored: Callable[[str], object], title: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under our names, float32, and the keys that are ignored.

    Args:
        official: Theirs.
        renames: Table of names.
        ignored: Whether no score depends on a key.
        title: Of the method, for messages.

    Raises:
        WeightsError: A key is neither in the table nor to be ignored.
    """
    state: dict[str, Tensor] = {}
    left_out, unknown = [], []
    for key, value in official.items():
        if ignored(key):
            left_out.append(key)
        elif name := renamed(key, renames):
            state[name] = value.detach().float()
        else:
            unknown.append(key)
    if unknown:
        some = ", ".join(sorted(unknown)[:3])
        raise WeightsError(f"Not weights of {title}: {len(unknown)} unknown entries, such as {some}.")
    return state, tuple(left_out)


def needed(state: Mapping[str, Tensor], dimensions: Mapping[str, int], title: str) -> None:
    """Raises a WeightsError if a tensor that sizes are read from is missing or has another number of axes."""
    for name, count in dimensions.items():
        if name not in state:
            raise WeightsError(f"Not complete weights of {title}: nothing in the file becomes {name}.")
        if state[name].ndim != count:
            raise WeightsError(f"Weights of {title} that become {name} have the shape {tuple(state[name].shape)}.")
