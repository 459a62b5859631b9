"""Checkpoints of a training that may be interrupted at any moment."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from medzsad.errors import ConfigError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state saved last; None if there is none.

    Raises:
        ConfigError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"The saved state {path} is damaged ({error.__class__.__name__}). Delete it to train anew."
        ) from None
    return state
