"""Small images and folders for the tests of training data."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (12, 8)) -> Path:
    """An image of its own bytes for every path and value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum((place + 1) * byte for place, byte in enumerate("/".join(path.parts[-3:]).encode())) + value
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, size: tuple[int, int] = (12, 8), empty: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size[::-1], np.uint8)
    if not empty:
        pixels[1:4, 2:7] = 255
    Image.fromarray(pixels).save(path)
    return path


def write_meta(path: Path, entries: list[dict[str, object]], name: str = "metal nut") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"train": {name: []}, "test": {name: entries}}), encoding="utf-8")
    return path


def entry(image: str, mask: str = "", anomaly: int = 0, kind: str = "good", **more: str) -> dict[str, object]:
    return {"img_path": image, "mask_path": mask, "cls_name": "", "specie_name": kind, "anomaly": anomaly, **more}
