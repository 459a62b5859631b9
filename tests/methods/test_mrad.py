"""MRAD-TF against its formulas as slow loops, and what a memory needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.detector import Detector
from medzsad.methods.mrad import METHOD, MRAD, MRADOptions, neighbor_means, remembered
from medzsad.methods.objective import Truth
from medzsad.methods.registry import find_method
from tests import tiny

Array = NDArray[np.float64]
GRID, SIDE, WIDTH, PATCH_WIDTH = (4, 4), 28, 6, 5


def _features(count: int, seed: int = 0, grid: tuple[int, int] = GRID) -> ImageFeatures:
    source = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, grid[0] * grid[1], PATCH_WIDTH, generator=source)
    return ImageFeatures(torch.randn(count, WIDTH, generator=source), (patches,), grid)


def _truth(labels: list[int], known: list[bool] | None = None) -> Truth:
    masks = torch.zeros(len(labels), SIDE, SIDE)
    for place, label in enumerate(labels):
        if label:
            masks[place, : 14 + place, 7:25] = 1  # whole patches and parts of others
    return Truth(torch.tensor(labels), masks, torch.tensor(known or [True] * len(labels)))


def _predict(model: MRAD, features: ImageFeatures, options: MRADOptions | None = None) -> tuple[Tensor, Tensor]:
    tower = Tower(tiny.tower(), tiny.SPEC)  # not looked at
    found = model(tower, features, ["x"] * len(features.cls), {}, (SIDE, SIDE), options or MRADOptions())
    assert found.spread is None
    return found.score_map, found.image_score


# The formulas of METHODS D.5, one number at a time.


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.sqrt((vector**2).sum()))


def _literal_neighbors(patches: Array, grid: tuple[int, int]) -> Array:
    rows, columns = grid
    found = np.zeros_like(patches)
    for row in range(rows):
        for column in range(columns):
            near = [
                patches[r * columns + c]
                for r in range(row - 1, row + 2)
                for c in range(column - 1, column + 2)
                if 0 <= r < rows and 0 <= c < columns
            ]
            found[row * columns + column] = sum(near) / len(near)
    return found


def _literal_resize(plane: Array, rows: int, columns: int) -> Array:
    """Bilinear, corners not aligned."""
    found = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            y = max((row + 0.5) * plane.shape[0] / rows - 0.5, 0)
            x = max((column + 0.5) * plane.shape[1] / columns - 0.5, 0)
            top, left = int(y), int(x)
            below, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            upper = plane[top, left] * (1 - (x - left)) + plane[top, right] * (x - left)
            lower = plane[below, left] * (1 - (x - left)) + plane[below, right] * (x - left)
            found[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return found


def _literal_memory(features: ImageFeatures, truth: Truth) -> tuple[list[tuple[Array, int]], list[tuple[Array, int]]]:
    images, patches = [], []
    for place in range(len(features.cls)):
        label = int(truth.labels[place])
        images.append((_unit(features.cls[place].double().numpy()), label))
        if label and not truth.has_mask[place]:
            continue
        mask = truth.masks[place].double().numpy() if label else np.zeros((SIDE, SIDE))
        share = _literal_resize(mask, *features.grid).ravel()
        means = _literal_neighbors(features.patches[0][place].double().numpy(), features.grid)
        for value in (0, 1):
            chosen = [means[i] for i in range(len(means)) if share[i] == value]
            if chosen:
                patches.append((_unit(sum(chosen, np.zeros(PATCH_WIDTH)) / len(chosen)), value))
    return images, patches


def _literal_recall(query: Array, memory: list[tuple[Array, int]]) -> float:
    weights = [np.exp(query @ key) for key, _ in memory]
    return float(sum(w * label for w, (_, label) in zip(weights, memory, strict=True)) / sum(weights))


def _literal_scores(
    features: ImageFeatures, place: int, memory: tuple[list[tuple[Array, int]], list[tuple[Array, int]]]
) -> tuple[Array, float]:
    means = _literal_neighbors(features.patches[0][place].double().numpy(), features.grid)
    cells = np.array([_literal_recall(_unit(patch), memory[1]) for patch in means]).reshape(features.grid)
    score_map = _literal_resize(cells, SIDE, SIDE)
    highest = np.sort(gaussian_filter(score_map, 4.0).ravel())[::-1][: max(1, int(0.01 * SIDE * SIDE))]
    image = _literal_recall(_unit(features.cls[place].double().numpy()), memory[0])
    return score_map, 0.7 * image + 0.3 * float(highest.mean())


def test_memory_and_scores_are_those_of_the_formulas() -> None:
    auxiliary, truth = _features(5), _truth([0, 1, 0, 1, 1], [True, True, False, False, True])
    memory = _literal_memory(auxiliary, truth)
    halves = [slice(0, 2), slice(2, 5)]  # the batches make no difference
    model = remembered(
        (
            ImageFeatures(auxiliary.cls[part], (auxiliary.patches[0][part],), GRID),
            Truth(truth.labels[part], truth.masks[part], truth.has_mask[part]),
        )
        for part in halves
    )
    assert model.sizes == {"width": WIDTH, "patch_width": PATCH_WIDTH, "image_keys": 5, "patch_keys": 6}
    for keys, labels, expected in (
        (model.image_keys, model.image_labels, memory[0]),
        (model.patch_keys, model.patch_labels, memory[1]),
    ):
        assert labels.tolist() == [label for _, label in expected]
        np.testing.assert_allclose(keys.numpy(), np.stack([key for key, _ in expected]), atol=1e-6)
    images = _features(3, seed=1)
    maps, scores = _predict(model, images)
    for place in range(3):
        expected_map, expected_score = _literal_scores(images, place, memory)
        np.testing.assert_allclose(maps[place].numpy(), expected_map, atol=1e-6)
        assert float(scores[place]) == pytest.approx(expected_score, abs=1e-6)


def test_an_image_scores_the_same_in_any_company() -> None:
    model = remembered([(_features(4), _truth([0, 1, 0, 1]))])
    images = _features(3, seed=1)
    maps, scores = _predict(model, images)
    alone = _predict(model, ImageFeatures(images.cls[1:2], (images.patches[0][1:2],), GRID))
    torch.testing.assert_close(alone[0][0], maps[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(alone[1][0], scores[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (3, 2)])
def test_at_an_edge_the_neighbors_that_exist_are_averaged(grid: tuple[int, int]) -> None:
    patches = _features(2, grid=grid).patches[0]
    for found, image in zip(neighbor_means(patches, grid), patches, strict=True):
        np.testing.assert_allclose(found.numpy(), _literal_neighbors(image.double().numpy(), grid), atol=1e-6)


def test_an_abnormal_image_without_mask_says_nothing_about_patches() -> None:
    truth = _truth([0, 1, 1], [True, True, False])
    truth.masks[2] = torch.nan  # anything may stand there
    model = remembered([(_features(3), truth)])
    assert len(model.image_keys) == 3
    assert model.patch_labels.tolist() == [0, 0, 1]
    assert bool(model.patch_keys.isfinite().all())


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (_truth([0, 0]), "no abnormal image to remember.*hold_out"),
        (_truth([1, 1]), "no normal image"),
        (_truth([0, 1], [True, False]), "no abnormal patch.*middle inside a defect.*masks"),
    ],
)
def test_a_memory_that_could_tell_nothing_is_refused(truth: Truth, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        remembered([(_features(2), truth)])


def test_a_defect_beside_the_middle_of_every_patch_leaves_no_key() -> None:
    truth = _truth([0, 1])
    truth.masks[1] = 0
    truth.masks[1, :3, :3] = 1  # the middle of the first patch is pixel (3, 3)
    with pytest.raises(ConfigError, match="middle inside a defect"):
        remembered([(_features(2), truth)])


def test_several_layers_and_an_empty_memory_are_refused() -> None:
    features = _features(2)
    with pytest.raises(ConfigError, match="one layer of patch tokens, the tower gives 2"):
        remembered([(ImageFeatures(features.cls, features.patches * 2, GRID), _truth([0, 1]))])
    spec = replace(tiny.SPEC, layers=(3,))
    tower = Tower(tiny.tower(spec), spec)
    empty = MRAD(**MRAD.sizes_for(tower, MRADOptions()))
    with pytest.raises(WeightsError, match="memory is empty"):
        Detector(tower, empty, METHOD, tiny.card(method="mrad", spec=spec, options={}))
    with pytest.raises(WeightsError, match="the tower gives 2"):
        empty.check_tower(Tower(tiny.tower(), tiny.SPEC))


@pytest.mark.parametrize("options", [{"image_share": 0.2}, {"top_share": 0.5}, {"smooth_pixels": 0}])
def test_every_option_changes_the_image_score_and_not_the_map(options: dict[str, float]) -> None:
    model, images = remembered([(_features(4), _truth([0, 1, 0, 1]))]), _features(2, seed=1)
    plain, changed = _predict(model, images), _predict(model, images, MRADOptions.model_validate(options))
    assert torch.equal(plain[0], changed[0])
    assert bool((plain[1] != changed[1]).all())


def test_a_score_of_the_top_alone_is_the_highest_pixel() -> None:
    model, images = remembered([(_features(4), _truth([0, 1, 0, 1]))]), _features(2, seed=1)
    maps, scores = _predict(model, images, MRADOptions(image_share=0, top_share=1e-6, smooth_pixels=0))
    assert torch.equal(scores, maps.amax(dim=(1, 2)))


def test_wrong_options_are_refused_and_the_tower_is_that_of_the_authors() -> None:
    for options in ({"image_share": 1.1}, {"top_share": 0.0}, {"smooth_pixels": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            MRADOptions.model_validate(options)
    spec = find_method("mrad").spec
    assert (spec.layers, spec.local_from, spec.patch_post, spec.cls_post_norm) == ((24,), 2, "raw", False)
