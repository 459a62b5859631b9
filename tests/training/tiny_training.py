"""A training small enough for tests: random tower, a few noisy pictures with bright squares."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medzsad.training.config import TrainConfig, make_train_config
from medzsad.weights.card import WeightsCard
from medzsad.weights.store import save_weights
from tests import tiny


def write_pictures(root: Path, per_label: int = 8) -> Path:
    """Two classes in MVTec's layout, each with sound images and defects with masks."""
    for number, name in enumerate(("nut", "cloth")):
        for label, kind in enumerate(("good", "spot")):
            for place in range(per_label):
                source = np.random.default_rng((number, label, place))
                pixels = source.integers(40, 140, (30, 36, 3)).astype(np.uint8)
                image = root / name / "test" / kind / f"{place:03d}.png"
                image.parent.mkdir(parents=True, exist_ok=True)
                if label:
                    row, column = (int(value) for value in source.integers(2, 18, 2))
                    mask = np.zeros((30, 36), np.uint8)
                    mask[row : row + 9, column : column + 12] = 255
                    pixels[mask > 0] = 250
                    truth = root / name / "ground_truth" / kind / f"{place:03d}_mask.png"
                    truth.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(truth)
                Image.fromarray(pixels).save(image)
    (root / "nut" / "train" / "good").mkdir(parents=True)
    (root / "cloth" / "train" / "good").mkdir(parents=True)
    return root


def write_tower(path: Path) -> Path:
    """A weights file that brings a tiny random tower, most words of which are unknown."""
    clip = tiny.tower()
    clip.token_embedding.weight[2000:49000] = 0
    metadata = WeightsCard(name="tiny", spec=tiny.SPEC, clip_name="tiny-tower", clip_config=tiny.CONFIG, license="MIT")
    save_weights(path, tiny.prompts(), metadata, clip)
    return path


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    """Plain options of a training in `folder`, whose data and tower are made where they are missing."""
    if not (folder / "data").exists():
        write_pictures(folder / "data")
    if not (folder / "tower.safetensors").exists():
        write_tower(folder / "tower.safetensors")
    plain: dict[str, Any] = {
        "data": {"root": str(folder / "data"), "layout": "mvtec"},
        "tower": str(folder / "tower.safetensors"),
        "hold_out": 0.25,
        "batch": 8,
        "epochs": 3,
        "validation_samples": 2,
        "samples": 2,
        "options": {"bank": 2, "flows": 2},
        "phantoms": 2,
        "workers": 0,
        "device": "cpu",
        "precision": "float32",
        "save_seconds": 0,
    }
    return plain | changes


def config(folder: Path, **changes: Any) -> TrainConfig:
    """The same, checked."""
    return make_train_config(options(folder, **changes), folder)
