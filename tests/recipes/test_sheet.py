"""The sheet of generated images shows as many as asked for, lesions outlined."""

from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner
from PIL import Image

from recipes.medzsad_mini.sheet import main, outlined


def test_the_sheet_holds_the_images_in_rows_of_eight(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    found = CliRunner().invoke(main, [str(path), "--count", "10", "--size", "32", "--anatomies", "1"])
    assert found.exit_code == 0, found.output
    with Image.open(path) as image:
        assert image.size == (8 * 32, 2 * 32)
        assert np.asarray(image.convert("RGB"))[32:, 2 * 32 :].max() < 8  # black, up to the palette


def test_only_the_rim_of_a_mask_is_drawn() -> None:
    mask = torch.zeros(1, 12, 12)
    mask[0, 3:9, 3:9] = 1
    picture = outlined(torch.full((1, 3, 12, 12), 0.5), mask)[0]
    assert picture[3, 3].tolist() == [255, 70, 40]
    assert picture[5, 5].tolist() == picture[0, 0].tolist() == [128, 128, 128]
