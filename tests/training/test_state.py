"""A saved state is the one that is read, or is refused."""

from pathlib import Path

import pytest
import torch

from medzsad.errors import ConfigError
from medzsad.training.optimization import PatienceRule
from medzsad.training.state import TrainState, load_state, save_state


def state() -> TrainState:
    rule = PatienceRule(epochs=9, patience=2).after(0.25)[0]
    return TrainState(
        rule, {"a": torch.arange(3.0)}, step=4, best={1: {"a": torch.ones(2)}}, history=[{"x": None, "y": 0.5}]
    )


def test_a_state_reads_back_as_saved(tmp_path: Path) -> None:
    save_state(tmp_path, state(), {"seed": 1})
    found = load_state(tmp_path, {"seed": 1})
    assert found is not None
    assert (found.rule, found.step, found.history) == (state().rule, 4, [{"x": None, "y": 0.5}])
    assert torch.equal(found.best[1]["a"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_no_state_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path, {}) is None


def test_differing_keys_are_named_and_equal_ones_are_not(tmp_path: Path) -> None:
    save_state(tmp_path, state(), {"seed": 1, "batch": 32})
    with pytest.raises(ConfigError, match=r"batch \(was 32, now 8\)") as caught:
        load_state(tmp_path, {"seed": 1, "batch": 8})
    assert "seed" not in str(caught.value)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, state(), {})
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:200])
    with pytest.raises(ConfigError, match="damaged"):
        load_state(tmp_path, {})
