"""Auxiliary images: which are taken, how they are split and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzsad.errors import ConfigError
from medzsad.generator.fields import Dice
from recipes.medzsad_mini.auxiliary import draw_auxiliary, load_auxiliary, read_records, split_records
from recipes.medzsad_mini.batches import auxiliary_batch, draw_batch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of wide images; the left third is the defect; one defect has lost its mask."""
    meta: dict[str, dict[str, list[dict[str, object]]]] = {"train": {"cookie": [], "road": []}, "test": {}}
    meta["train"]["cookie"].append({"img_path": "", "mask_path": "", "anomaly": 0})
    for name in ("cookie", "road"):
        folder = tmp_path / name
        folder.mkdir()
        meta["test"][name] = []
        for index in range(6):
            pixels = np.full((20, 30, 3), 40 * index, np.uint8)
            pixels[:, :10] = 255
            Image.fromarray(pixels).save(folder / f"{index}.png")
            mask = np.zeros((20, 30), np.uint8)
            mask[:, :10] = 255
            Image.fromarray(mask).save(folder / f"{index}_mask.png")
            defect = index % 2
            meta["test"][name].append(
                {
                    "img_path": f"{name}/{index}.png",
                    "mask_path": f"{name}/{index}_mask.png" if defect else "",
                    "anomaly": defect,
                }
            )
    (tmp_path / "road" / "5_mask.png").unlink()
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return tmp_path


def test_records_without_image_or_without_mask_are_left_out(root: Path) -> None:
    assert len(read_records(root, ["cookie"])) == 6
    road = read_records(root, ["road"])
    assert [record.label for record in road] == [0, 1, 0, 1, 0]


def test_an_unknown_class_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match="no class leather"):
        read_records(root, ["leather"])


def test_a_missing_meta_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"meta\.json"):
        read_records(tmp_path)


def test_the_split_is_the_same_wherever_the_folder_lies(root: Path) -> None:
    records = read_records(root, ["cookie", "road"])
    train, held_out = split_records(records, 0.5)
    again = split_records(list(reversed(records)), 0.5)[1]
    assert {r.image for r in held_out} == {r.image for r in again}
    assert train
    assert held_out
    assert len(train) + len(held_out) == len(records)


def test_images_and_masks_are_fitted_alike(root: Path) -> None:
    loaded = load_auxiliary(read_records(root, ["cookie"])[1:2], side=30)
    assert loaded.images.shape == (1, 3, 30, 30)
    assert loaded.masks[0, 15, 5] == 255
    assert loaded.masks[0, 15, 20] == 0
    assert loaded.masks[0, 2, 5] == 0  # the padding above
    assert loaded.images[0, :, 15, 5].tolist() == [255, 255, 255]


def test_augmented_masks_stay_on_their_defects(root: Path) -> None:
    loaded = load_auxiliary(read_records(root, ["cookie"])[1:2], side=60)
    plain = draw_auxiliary(Dice(torch.Generator()), loaded, 1, 60, augment=False)
    assert plain[2] == ["cookie"]
    for seed in range(12):
        images, masks, _ = draw_auxiliary(Dice(torch.Generator().manual_seed(seed)), loaded, 1, 60)
        gray = images.mean(dim=1)
        if masks.any() and (1 - masks).any():
            inside, outside = gray[masks > 0].median(), gray[masks == 0].median()
            assert abs(float(inside - outside)) > 0.2


def test_a_batch_holds_generated_images_first_and_is_normalized(root: Path) -> None:
    loaded = load_auxiliary(read_records(root, ["cookie", "road"]), side=48)
    batch = draw_batch(torch.Generator().manual_seed(1), loaded, generated=3, industrial=2, size=48, anatomies=1)
    assert batch.images.shape == (5, 3, 48, 48)
    assert len(batch.names) == 5
    assert len(batch.captions) == 3
    assert set(batch.names[3:]) <= {"cookie", "road"}
    assert float(batch.images.min()) < -1
    kept = auxiliary_batch(loaded, 10, 4, 48)
    assert len(kept.names) == 1
    assert kept.labels.tolist() == loaded.labels[10:].tolist()
