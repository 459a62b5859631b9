"""Kept features are the computed ones, rounded, and survive damage."""

import dataclasses
from pathlib import Path

import pytest
import torch

from medzsad.methods.bayes_pfl.method import METHOD
from medzsad.training.config import TrainConfig
from medzsad.training.features import Change, FeatureBatch, FeatureSource
from medzsad.training.prepare import checked_data
from medzsad.weights.tower import open_tower
from tests.training.tiny_training import config


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return config(tmp_path_factory.mktemp("features"))


def source(
    config: TrainConfig, folder: Path | None, *, workers: int = 0, mosaic: float = 0.0, plain: bool = False
) -> FeatureSource:
    data = checked_data(config)
    opened = open_tower(config.tower, METHOD.spec)
    return FeatureSource(
        opened.tower,
        data.records,
        data.root,
        tower_sha256=opened.sha256,
        device=torch.device("cpu"),
        precision="float32",
        change=None if plain else Change(1, True, mosaic),
        folder=folder,
        workers=workers,
    )


def same(one: FeatureBatch, other: FeatureBatch) -> bool:
    pairs = [
        (one.features.cls, other.features.cls),
        *zip(one.features.patches, other.features.patches, strict=True),
        *((getattr(one.truth, f.name), getattr(other.truth, f.name)) for f in dataclasses.fields(one.truth)),
    ]
    return one.class_names == other.class_names and all(torch.equal(a, b) for a, b in pairs)


def test_read_features_are_those_first_computed_and_close_to_exact_ones(chosen: TrainConfig, tmp_path: Path) -> None:
    plan = [[0, 9, 20], [31, 2]]
    exact = list(source(chosen, None).batches(plan, 1))
    first = list(source(chosen, tmp_path).batches(plan, 1))
    again = list(source(chosen, tmp_path, workers=3).batches([[31, 2], [0, 9, 20]], 1))[::-1]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    for a, b in zip(exact, first, strict=True):
        torch.testing.assert_close(a.features.patches[1], b.features.patches[1], rtol=2e-3, atol=2e-3)
        assert torch.equal(a.truth.masks, b.truth.masks)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_made_anew(chosen: TrainConfig, tmp_path: Path, damage: str) -> None:
    kept = source(chosen, tmp_path)
    first = next(kept.batches([[3, 4]], 0))
    assert kept.folder is not None
    path = sorted(kept.folder.iterdir())[0]
    whole = path.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    path.write_bytes({"cut": whole[:100], "flip": flipped, "empty": b""}[damage])
    assert same(first, next(kept.batches([[3, 4]], 0)))
    assert path.read_bytes() == whole


def test_variants_differ_and_repeat(chosen: TrainConfig) -> None:
    made = source(chosen, None)
    assert torch.equal(made.picture(3, 0)[0], made.picture(3, 0)[0])
    assert not torch.equal(made.picture(3, 0)[0], made.picture(3, 1)[0])


def test_the_folder_depends_on_what_the_features_depend_on(chosen: TrainConfig, tmp_path: Path) -> None:
    folders = {
        source(chosen, tmp_path).folder,
        source(chosen, tmp_path, mosaic=0.5).folder,
        source(chosen, tmp_path, plain=True).folder,
    }
    assert len(folders) == 3
    assert source(chosen, tmp_path, workers=2).folder in folders


def test_a_mosaic_is_a_defect_of_the_same_class(chosen: TrainConfig) -> None:
    made = source(chosen, None, mosaic=1.0)
    sound = next(place for place, record in enumerate(made.records) if not record.label)
    image, mask, label = made.picture(sound)
    assert label == 1
    assert mask is not None
    assert image.shape == (3, 28, 28)
    assert source(chosen, None).picture(sound)[2] == 0
