"""A log that TensorBoard shows, for those who want one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from medzsad.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board(Protocol):
    """Takes numbers and pictures of a training, step by step."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs numbers by their tags."""
        ...

    def image(self, tag: str, path: Path, step: int) -> None:
        """Logs the picture in a file."""
        ...

    def close(self) -> None:
        """Writes what is left; nothing may be logged afterward."""
        ...


class NullBoard:
    """Keeps nothing."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Does nothing."""

    def image(self, tag: str, path: Path, step: int) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class EventBoard:
    """Writes TensorBoard's event files.

    Args:
        writer: To the folder of the files.
    """

    def __init__(self, writer: "SummaryWriter") -> None:
        self._writer = writer

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs numbers by their tags."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def image(self, tag: str, path: Path, step: int) -> None:
        """Logs the picture in a file."""
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is left; nothing may be logged afterward."""
        self._writer.close()


def open_board(folder: Path | None) -> Board:
    """A board that writes into `folder`, or one that keeps nothing if it is None.

    A training that is continued opens the same folder again; TensorBoard joins the files.

    Raises:
        ConfigError: The package tensorboard is not installed.
    """
    if folder is None:
        return NullBoard()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"A TensorBoard log was asked for in {folder}, but tensorboard cannot be imported ({error}). "
            'Install it with `pip install "medzsad[train]"`, or leave the log out.'
        ) from None
    return EventBoard(SummaryWriter(folder))
