"""Where a training stands: all that an interrupted one needs to go on to the bit."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.errors import ConfigError
from medzsad.files import partial_name, replace_atomic
from medzsad.training.optimization import PatienceRule

STATE_FILE = "state.pt"


@dataclass(slots=True)
class TrainState:
    """Everything that changes during a training.

    Data order, augmentation, noise and other choices are functions of seed, epoch and step, so no generator is in it.

    Attributes:
        rule: Stage, epoch and failures.
        step: Steps done in the epoch.
        model: Its state dict.
        optimizer: Its state dict; None for a fresh one.
        best: State dict of the model after the best epoch, by stage.
        sums: Losses of the epoch so far, summed over steps.
        history: One record per epoch done.
        seconds: Time spent in the epoch so far.
        done: Whether the last epoch is over.
        written: Whether the weights file has been written.
    """

    rule: PatienceRule
    model: dict[str, Tensor]
    step: int = 0
    optimizer: dict[str, Any] | None = None
    best: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    done: bool = False
    written: bool = False


def save_state(out: Path, state: TrainState, identity: Mapping[str, Any]) -> None:
    """Writes the state into OUT, whole or not at all.

    Args:
        out: Folder of the training.
        state: What to save.
        identity: What the weights depend on; a training of another identity cannot go on from here.
    """
    content = {name: getattr(state, name) for name in TrainState.__slots__}
    save_checkpoint(out / STATE_FILE, {**content, "rule": state.rule.to_dict(), "identity": dict(identity)})


def load_state(out: Path, identity: Mapping[str, Any]) -> TrainState | None:
    """The state in OUT; None if there is none.

    Raises:
        ConfigError: It is damaged, or of a training with other options or data; the message names them.
    """
    content = load_checkpoint(out / STATE_FILE)
    if content is None:
        return None
    if changes := changes_text(content.pop("identity", {}), identity):
        raise ConfigError(
            f"The training in {out} was begun otherwise and cannot go on: {changes}. "
            "Restore these, or give another folder with -o."
        )
    return TrainState(**{**content, "rule": PatienceRule.from_dict(content["rule"])})


def changes_text(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """What differs between two identities, such as "seed (was 3, now 4)"; empty if nothing does."""
    keys = sorted({key for key in {**stored, **identity} if stored.get(key) != identity.get(key)})
    return ", ".join(f"{key} (was {_short(stored.get(key))}, now {_short(identity.get(key))})" for key in keys)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:18] + "..." + text[-18:]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    torch.save(state, partial)
    replace_atomic(partial, path)


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
            f"The saved state {path} is damaged ({error.__class__.__name__}). Delete it to start the training over."
        ) from None
    return state
