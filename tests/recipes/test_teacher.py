"""The stem means to CLIP-normalized images what the published network means to its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from medzsad.clip.hybrid import ConvStem, Fire, pool
from medzsad.errors import ConfigError
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD
from recipes.medzsad_mini.teacher import read_teacher, start_stem


def _teacher() -> dict[str, torch.Tensor]:
    """Random weights under the published names, with the published sizes."""
    source = torch.Generator().manual_seed(0)
    stem = ConvStem()
    weights = {"conv1.w": torch.randn(stem.conv1.weight.shape, generator=source), "conv1.b": torch.zeros(96)}
    for number in range(2, 10):
        fire: Fire = getattr(stem, f"fire{number}")
        parts = {"conv1x1_1": fire.squeeze, "conv1x1_2": fire.expand1, "conv3x3_2": fire.expand3}
        for name, layer in parts.items():
            shape = layer.weight.shape
            scale = shape[1:].numel() ** -0.5
            weights[f"fire{number}/{name}.w"] = scale * torch.randn(shape, generator=source)
            weights[f"fire{number}/{name}.b"] = 5 * torch.randn(shape[0], generator=source)
    return weights


def _published(teacher: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    x = conv2d(x, teacher[f"{name}/conv1x1_1.w"], teacher[f"{name}/conv1x1_1.b"]).relu()
    one = conv2d(x, teacher[f"{name}/conv1x1_2.w"], teacher[f"{name}/conv1x1_2.b"])
    three = conv2d(x, teacher[f"{name}/conv3x3_2.w"], teacher[f"{name}/conv3x3_2.b"], padding=1)
    return torch.cat((one, three), dim=1).relu()


@torch.no_grad()
def test_every_grid_is_the_teachers_up_to_one_factor() -> None:
    teacher, stem = _teacher(), ConvStem()
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    normalized = (pictures - mean) / std
    start_stem(stem, teacher, normalized)
    theirs = (255 * pictures).flip(1) - torch.tensor((104.0, 117.0, 123.0))[:, None, None]
    # Away from the rim, where our padding differs from theirs.
    inner = conv2d(theirs[..., 1:, 1:], teacher["conv1.w"], teacher["conv1.b"], stride=2).relu()
    ours = stem.conv1(normalized).relu()[..., 2:-1, 2:-1]
    factor = inner.square().mean().sqrt() / ours.square().mean().sqrt()
    assert torch.allclose(inner, factor * ours, atol=1e-3 * float(inner.max()))
    x, reference = pool(stem.conv1(normalized).relu()), None
    for number in range(2, 10):
        if reference is None:
            reference = x * factor
        x, reference = getattr(stem, f"fire{number}")(x), _published(teacher, f"fire{number}", reference)
        ratio = reference.square().mean().sqrt()
        assert torch.allclose(reference / ratio, x, atol=1e-3), number
        if number in {4, 8}:
            x, reference = pool(x), pool(reference)


@torch.no_grad()
def test_all_grids_come_out_at_unit_strength() -> None:
    stem = ConvStem()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    start_stem(stem, _teacher(), images)
    for features in stem(images):
        assert float(features.square().mean().sqrt()) == pytest.approx(1, abs=1e-3)


def test_a_file_that_is_not_the_teacher_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.npz"):
        read_teacher(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(ConfigError, match=r"conv1\.w"):
        read_teacher(tmp_path / "other.npz")
