"""Batches of tower features with their truth, computed, or read from a folder on disk where they are kept."""

import dataclasses
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.config import Precision
from medzsad.datasets.pictures import read_picture
from medzsad.datasets.records import Record, data_sha256, relative_name
from medzsad.methods.objective import Truth
from medzsad.slices.transforms import clip_normalize
from medzsad.training.augment import augment, mosaic
from medzsad.training.object_noise import object_noise
from medzsad.training.randomness import generator_for

_AUGMENT = 1  # first number of the random stream of this file; those of the loop are others
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class Change:
    """How pictures are changed before the tower sees them.

    Attributes:
        seed: Of the changes.
        augment: Whether pictures are augmented.
        mosaic: Chance of a mosaic of four defects of the same class.
        object_noise: Chance that a sound picture gets a defect of noise.
    """

    seed: int
    augment: bool
    mosaic: float
    object_noise: float = 0.0


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Features of images with what is known about them.

    Attributes:
        features: float32, on the device.
        truth: On the device; masks have the side of the tower's input.
        class_names: One per image.
    """

    features: ImageFeatures
    truth: Truth
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Picture:
    image: Tensor  # (3, S, S) uint8
    mask: Tensor | None  # (S, S) uint8
    label: int


@dataclass(frozen=True, slots=True)
class _Kept:
    features: ImageFeatures  # of one image, float16
    mask: Tensor | None
    label: int


class FeatureSource:
    """Batches of features of records.

    With a folder, features are computed image by image, rounded to float16 and kept; batches hold the rounded numbers
    from the first time on. Corrupt cache files are recomputed. Without one they are computed batch by batch.

    Args:
        tower: Frozen, on `device`, its arithmetic set.
        records: The images.
        root: What their names are relative to.
        tower_sha256: Digest of the tower's file, part of the folder's name.
        device: Where the tower is.
        precision: Name of that arithmetic, part of the folder's name.
        change: How pictures are changed; None takes them as they are.
        folder: Parent of the folder with kept features; None keeps nothing.
        workers: Threads that read.
    """

    def __init__(
        self,
        tower: Tower,
        records: Sequence[Record],
        root: Path,
        *,
        tower_sha256: str,
        device: torch.device,
        precision: Precision,
        change: Change | None = None,
        folder: Path | None = None,
        workers: int = 0,
    ) -> None:
        self.records = tuple(records)
        self._tower, self._device, self._precision = tower, device, precision
        self._tower_sha256 = tower_sha256
        self._change, self._workers = change, workers
        self.folder = None if folder is None else folder / _key(self, root)
        self._defects: dict[str, list[int]] = defaultdict(list)
        for place, record in enumerate(self.records):
            if record.label:
                self._defects[record.class_name].append(place)

    def picture(self, place: int, variant: int = 0) -> tuple[Tensor, Tensor | None, int]:
        """Image (3, S, S) uint8, mask (S, S) uint8 or None, and label of a record in one of its variants."""
        side = self._tower.spec.image_size
        record, change = self.records[place], self._change
        if change is None:
            return (*read_picture(record, side), record.label)
        source = generator_for(change.seed, _AUGMENT, variant, place)
        defects = self._defects[record.class_name]
        if defects and float(torch.rand((), generator=source)) < change.mosaic:
            chosen = torch.randint(len(defects), (4,), generator=source).tolist()
            image, mask = mosaic([read_picture(self.records[defects[i]], side) for i in chosen])
            label = 1
        else:
            image, mask = read_picture(record, side)
            label = record.label
        # Not drawn unless it is asked for: older trainings are to come out as they did.
        if change.object_noise and not label and float(torch.rand((), generator=source)) < change.object_noise:
            image, mask = object_noise(image, source)
            label = 1
        if change.augment:
            image, mask = augment(image, mask, source)
        return image, mask, label

    def batches(self, plan: Sequence[Sequence[int]], variant: int = 0) -> Iterator[FeatureBatch]:
        """One batch per list of places in `plan`; the next one is read while one is used."""
        if self._workers == 0:
            for places in plan:
                yield self._finish([self._read(place, variant) for place in places], places, variant)
            return
        pool = ThreadPoolExecutor(self._workers)
        try:
            waiting: list[Future[_Picture | _Kept]] = []
            for number, places in enumerate(plan):
                current = waiting or [pool.submit(self._read, place, variant) for place in places]
                following = plan[number + 1] if number + 1 < len(plan) else ()
                waiting = [pool.submit(self._read, place, variant) for place in following]
                yield self._finish([future.result() for future in current], places, variant)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, place: int, variant: int) -> _Picture | _Kept:
        if self.folder is not None and (kept := _load(self._file(place, variant), self._tower)) is not None:
            return kept
        return _Picture(*self.picture(place, variant))

    def _finish(self, found: Sequence[_Picture | _Kept], places: Sequence[int], variant: int) -> FeatureBatch:
        if self.folder is None:
            pictures = [item for item in found if isinstance(item, _Picture)]
            features = self._compute([picture.image for picture in pictures])
        else:
            kept = [
                item if isinstance(item, _Kept) else self._keep(item, place, variant)
                for item, place in zip(found, places, strict=True)
            ]
            features = _joined([item.features for item in kept], self._device)
        side = self._tower.spec.image_size
        masks = [torch.zeros(side, side, dtype=torch.uint8) if item.mask is None else item.mask for item in found]
        truth = Truth(
            torch.tensor([item.label for item in found], device=self._device),
            torch.stack(masks).float().to(self._device),
            torch.tensor([item.mask is not None for item in found], device=self._device),
        )
        return FeatureBatch(features, truth, tuple(self.records[place].class_name for place in places))

    @torch.no_grad()
    def _compute(self, images: Sequence[Tensor]) -> ImageFeatures:
        batch = torch.stack([clip_normalize(image / 255) for image in images]).to(self._device)
        found = self._tower.features(batch)
        return ImageFeatures(found.cls.float(), tuple(layer.float() for layer in found.patches), found.grid)

    def _keep(self, picture: _Picture, place: int, variant: int) -> _Kept:
        # One image at a time: sums of a batch may depend on its size in their last digits.
        found = self._compute([picture.image])
        half = ImageFeatures(found.cls.half().cpu(), tuple(p.half().cpu() for p in found.patches), found.grid)
        kept = _Kept(half, picture.mask, picture.label)
        _store(self._file(place, variant), kept)
        return kept

    def _file(self, place: int, variant: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{place:06d}-{variant:03d}.features"


def _key(source: FeatureSource, root: Path) -> str:
    """Name of the folder of kept features: a hash of all that they depend on."""
    names = [
        (relative_name(root, r.image), r.label, r.class_name, r.mask is not None, len(r.more_masks))
        for r in source.records
    ]
    parts = {
        "tower": source._tower_sha256,
        "spec": dataclasses.asdict(source._tower.spec),
        "data": data_sha256(root, source.records),
        "records": names,
        "masks": "gray ones cut at half of their maximum",
        "change": None if source._change is None else dataclasses.asdict(source._change),
        "precision": source._precision,
        "device": source._device.type,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _joined(features: Sequence[ImageFeatures], device: torch.device) -> ImageFeatures:
    layers = zip(*(one.patches for one in features), strict=True)
    return ImageFeatures(
        torch.cat([one.cls for one in features]).to(device).float(),
        tuple(torch.cat(layer).to(device).float() for layer in layers),
        features[0].grid,
    )


def _store(path: Path, kept: _Kept) -> None:
    tensors = {"cls": kept.features.cls, "grid": torch.tensor(kept.features.grid), "label": torch.tensor(kept.label)}
    tensors |= {f"patches.{i}": layer.contiguous() for i, layer in enumerate(kept.features.patches)}
    if kept.mask is not None:
        tensors["mask"] = kept.mask.contiguous()
    content = save(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not waited for until it is on disk, as other files are: there are thousands, and the digest finds a damaged one.
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_bytes(hashlib.sha256(content).digest() + content)
    partial.replace(path)


def _load(path: Path, tower: Tower) -> _Kept | None:
    """What `_store` wrote; None if it is not there or damaged."""
    try:
        stored = path.read_bytes()
        if hashlib.sha256(stored[_DIGEST:]).digest() != stored[:_DIGEST]:
            return None
        tensors = load(stored[_DIGEST:])
    except (OSError, SafetensorError):
        return None
    patches = tuple(tensors[f"patches.{i}"] for i in range(len(tower.spec.layers)))
    rows, columns = tensors["grid"].tolist()
    return _Kept(ImageFeatures(tensors["cls"], patches, (rows, columns)), tensors.get("mask"), int(tensors["label"]))
