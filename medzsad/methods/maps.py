"""Score maps from what is known about patches; of many prompt pairs and layers without a full-size map per pair."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Upsampling = Literal["nearest", "bilinear"]


def score_maps(
    layers: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int], samples: int
) -> tuple[Tensor, Tensor | None]:
    """Mean map (b, H, W) of a batch in [0, 1] and its standard deviation over samples, None where there is only one.

    Each pair's logits are upsampled (bilinear, corners aligned) and turned into the probability of abnormal; these are
    averaged over layers and pairs (METHODS A.6). The softmax over a pair of upsampled logits is the logistic function
    of their upsampled difference, so one map per pair is enlarged instead of two.

    Args:
        layers: (b, S, 2, N) logits of each layer, normal before abnormal, S pairs sample by sample.
        grid: Rows and columns of the patches, N = rows * columns.
        size: (H, W).
        samples: Number of prompt samples R; S = R * bank.
    """
    differences = [
        (logits[:, :, 1] - logits[:, :, 0]).reshape(len(logits), samples, -1, *grid) for logits in layers
    ]  # (b, R, B, rows, columns)
    # What is alive at once is one sample of one layer: of one image on a CPU, whose caches hold that much.
    images = 1 if layers[0].device.type == "cpu" else len(layers[0])
    found = [_reduced(part, size) for part in zip(*(torch.split(layer, images) for layer in differences), strict=True)]
    mean, squares = (torch.cat(values) for values in zip(*found, strict=True))
    return mean, (squares / samples).sqrt() if samples > 1 else None


def _reduced(differences: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean over everything and sum of squared deviations of the samples' means, (b, H, W) both."""
    images, samples = differences[0].shape[:2]
    mean = differences[0].new_zeros(images, *size)
    squares = torch.zeros_like(mean)
    for sample in range(samples):
        one = torch.zeros_like(mean)
        for layer in differences:
            upsampled = interpolate(layer[:, sample], size=size, mode="bilinear", align_corners=True)
            one += upsampled.sigmoid_().mean(dim=1)
        one /= len(differences)
        step = one - mean
        mean += step / (sample + 1)
        squares += step * (one - mean)
    return mean, squares


def class_planes(values: Tensor, grid: tuple[int, int], size: tuple[int, int], upsampling: Upsampling) -> Tensor:
    """(b, K, H, W) of K values per patch (b, N, K), enlarged; bilinearly with corners that are not aligned.

    Args:
        values: Logits or probabilities.
        grid: Rows and columns of the patches, N = rows * columns.
        size: (H, W).
        upsampling: How they are enlarged.
    """
    planes = values.transpose(1, 2).reshape(len(values), -1, *grid)
    return interpolate(planes, size=size, mode=upsampling, align_corners=None if upsampling == "nearest" else False)
