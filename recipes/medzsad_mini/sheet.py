"""A sheet of generated images, so that people can look at what the embedded model learned on.

`python -m recipes.medzsad_mini.sheet docs/pictures/generated.png`
"""

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from medzsad.generator.images import generate

_COLUMNS = 8
_COLORS = 128
_OUTLINE = (255, 70, 40)


def outlined(images: torch.Tensor, masks: torch.Tensor) -> NDArray[np.uint8]:
    """(n, h, w, 3) pictures of images (n, 3, h, w) in [0, 1], the rims of their masks (n, h, w) in red."""
    pictures = np.rint(images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    for picture, mask in zip(pictures, masks.numpy() > 0, strict=True):
        picture[mask & ~binary_erosion(mask)] = _OUTLINE
    return np.asarray(pictures)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(1), default=32, show_default=True, help="Number of images.")
@click.option("--size", type=click.IntRange(32), default=160, show_default=True, help="Side of each, in pixels.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--anatomies", type=click.IntRange(1), default=8, show_default=True, help="Number of different heads.")
def main(out: Path, count: int, size: int, seed: int, anatomies: int) -> None:
    """Draw generated images with their lesions outlined into the file OUT."""
    made = generate(count, size, torch.Generator().manual_seed(seed), anatomies=anatomies)
    pictures = outlined(made.images, made.masks)
    rows = -(-count // _COLUMNS)
    sheet = np.zeros((rows * _COLUMNS, size, size, 3), np.uint8)
    sheet[:count] = pictures
    grid = sheet.reshape(rows, _COLUMNS, size, size, 3).transpose(0, 2, 1, 3, 4)
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = Image.fromarray(grid.reshape(rows * size, _COLUMNS * size, 3))
    whole.quantize(_COLORS).save(out, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main()
