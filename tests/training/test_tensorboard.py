"""The TensorBoard log holds what was given, and is not needed."""

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medzsad.errors import ConfigError
from medzsad.training.tensorboard import NullBoard, open_board


def read_back(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def test_numbers_and_pictures_can_be_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pixels = np.zeros((5, 9, 3), np.uint8)
    pixels[1, 7] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "sheet.png")
    board = open_board(tmp_path / "log")
    board.scalars({"losses/focal": 0.25, "rates/prompts": 1e-3}, step=4)
    board.scalars({"losses/focal": 0.125}, step=8)
    board.image("sheet", tmp_path / "sheet.png", step=8)
    board.close()
    events = read_back(tmp_path / "log")
    focal = [(event.step, event.value) for event in events.Scalars("losses/focal")]
    assert focal == [(4, 0.25), (8, 0.125)]
    assert events.Scalars("rates/prompts")[0].value == pytest.approx(1e-3)
    picture = events.Images("sheet")[0]
    assert (picture.step, picture.height, picture.width) == (8, 5, 9)


def test_a_training_that_goes_on_adds_to_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for step in (1, 2):
        board = open_board(tmp_path)
        board.scalars({"criterion": float(step)}, step=step)
        board.close()
    files = list(tmp_path.iterdir())
    steps = sorted(event.step for path in files for event in read_back(path).Scalars("criterion"))
    assert len(files) >= 1
    assert steps == [1, 2]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    board = open_board(None)
    board.scalars({"a": 1.0}, 1)
    board.image("b", tmp_path / "missing.png", 1)
    board.close()
    assert isinstance(board, NullBoard)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine: Callable[..., Any] = builtins.__import__

    def without_tensorboard(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return genuine(name, *args, **options)

    for name in [name for name in sys.modules if "tensorboard" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_tensorboard)
    with pytest.raises(ConfigError, match=r"medzsad\[train\]"):
        open_board(tmp_path)
    assert isinstance(open_board(None), NullBoard)
