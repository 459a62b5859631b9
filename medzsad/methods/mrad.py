"""MRAD-TF (arXiv 2602.00522): images and patches are looked up among remembered ones with known labels (METHODS D.5).

Nothing is learned by steps: one pass over auxiliary images makes the memory. Neither texts nor class names take part.
Label 0 is normal, 1 abnormal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.base import Draws, Method, Options, Prediction, PromptModel
from medzsad.methods.maps import class_planes
from medzsad.methods.objective import Truth
from medzsad.methods.prompts import TOWER

_ONE_LAYER = "MRAD-TF reads one layer of patch tokens, the tower gives {count}. Name one of them with layers."


class MRADOptions(Options):
    """How a memory is used; the defaults are the authors'.

    Attributes:
        image_share: Weight of the class token in the image score; the rest is that of the map.
        top_share: Share of the pixels of the smoothed map, the highest ones, whose mean goes into the image score.
        smooth_pixels: Standard deviation in pixels of the Gaussian over the map before that; the map that is returned
            is not smoothed. 0 leaves it as it is.
    """

    image_share: float = Field(default=0.7, ge=0, le=1)
    top_share: float = Field(default=0.01, gt=0, le=1)
    smooth_pixels: float = Field(default=4.0, ge=0, le=1000)


class MRAD(PromptModel):
    """A memory of images and patches.

    Args:
        width: Joint width of the tower.
        patch_width: Of its patch tokens.
        image_keys: Number of remembered images.
        patch_keys: Number of remembered means of patches.

    Attributes:
        image_keys: (I, D) unit class tokens.
        image_labels: (I,) their labels, 0 or 1.
        patch_keys: (P, C) unit means of the patches whose middle lies within, or outside of, the defects of an image.
        patch_labels: (P,) 1 for those within.
    """

    image_keys: Tensor
    image_labels: Tensor
    patch_keys: Tensor
    patch_labels: Tensor

    def __init__(self, *, width: int, patch_width: int, image_keys: int, patch_keys: int) -> None:
        super().__init__()
        self.sizes = {"width": width, "patch_width": patch_width, "image_keys": image_keys, "patch_keys": patch_keys}
        self.register_buffer("image_keys", torch.zeros(image_keys, width))
        self.register_buffer("image_labels", torch.zeros(image_keys))
        self.register_buffer("patch_keys", torch.zeros(patch_keys, patch_width))
        self.register_buffer("patch_labels", torch.zeros(patch_keys))

    @classmethod
    def sizes_for(cls, tower: Tower, options: MRADOptions) -> dict[str, int]:
        """Sizes of an empty memory, which `remembered` fills."""
        return {"width": tower.joint_width, "patch_width": tower.patch_width, "image_keys": 0, "patch_keys": 0}

    @property
    def tower_widths(self) -> tuple[int, None, int]:
        """Of class and patch tokens; texts take no part."""
        return self.sizes["width"], None, self.sizes["patch_width"]

    @property
    def layer_count(self) -> int:
        """Patches of one layer are remembered."""
        return 1

    def check_tower(self, tower: Tower) -> None:
        """Raises a WeightsError if the tower gives several layers, or if nothing is remembered."""
        if len(tower.spec.layers) != 1:
            raise WeightsError(_ONE_LAYER.format(count=len(tower.spec.layers)))
        if not len(self.image_keys) or not len(self.patch_keys):
            raise WeightsError("The memory is empty, so it says nothing about any image. Make it with `medzsad train`.")

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: MRADOptions,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing."""
        with torch.autocast(features.cls.device.type, enabled=False):  # cosines of a mixed-precision product are coarse
            units = normalize(neighbor_means(features.patches[0], features.grid), dim=-1)
            # One image at a time: of a batch, the cosines with all keys would take memory that grows with it.
            abnormal = torch.stack([recalled(image, self.patch_keys, self.patch_labels) for image in units])
            maps = class_planes(abnormal[..., None], features.grid, size, "bilinear")[:, 0]
            score = recalled(normalize(features.cls.float(), dim=-1), self.image_keys, self.image_labels)
            score = options.image_share * score + (1 - options.image_share) * _highest(maps, options)
        return Prediction(maps, score, None)


def recalled(units: Tensor, keys: Tensor, labels: Tensor) -> Tensor:
    """(n,) probabilities of abnormal: labels of all keys, weighted by the softmax of their cosines, no temperature.

    Args:
        units: (n, D) unit features.
        keys: (k, D) unit features with known labels.
        labels: (k,) 0 or 1.
    """
    return (units @ keys.T).softmax(dim=-1) @ labels


def neighbor_means(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """(b, N, C) float32 means over each patch and its neighbors, 3 x 3; at an edge, over those that exist.

    Args:
        patches: (b, N, C), row by row.
        grid: Rows and columns, N = rows * columns.
    """
    planes = patches.float().transpose(1, 2).reshape(len(patches), -1, *grid)
    return avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=False).flatten(2).transpose(1, 2)


def _highest(maps: Tensor, options: MRADOptions) -> Tensor:
    """(b,) means of the highest pixels of the smoothed maps (b, H, W), each map on its own."""
    count = max(1, int(options.top_share * maps[0].numel()))
    smooth = [torch.from_numpy(gaussian_filter(one, options.smooth_pixels)) for one in maps.detach().cpu().numpy()]
    return torch.stack(smooth).flatten(1).topk(count, dim=1).values.mean(dim=1).to(maps.device)


def remembered(batches: Iterable[tuple[ImageFeatures, Truth]]) -> MRAD:
    """The memory of auxiliary images, on the CPU.

    Every image is a key; each image whose defects are known adds up to two keys of patches.

    Args:
        batches: Features of images with their truth. A normal image counts as one with an empty mask; an abnormal one
            without a mask says nothing about its patches.

    Raises:
        ConfigError: One of the four kinds of keys is missing, or there are several layers of patch tokens.
    """
    images: list[tuple[Tensor, int]] = []
    patches: list[tuple[Tensor, int]] = []
    for features, truth in batches:
        units = normalize(features.cls.float(), dim=-1).cpu()
        images += zip(units, truth.labels.tolist(), strict=True)
        patches += _patch_keys(features, truth)
    for keys, what in ((images, "image"), (patches, "patch")):
        _check_labels([label for _, label in keys], what)
    found = {
        "image_keys": torch.stack([key for key, _ in images]),
        "image_labels": torch.tensor([float(label) for _, label in images]),
        "patch_keys": torch.stack([key for key, _ in patches]),
        "patch_labels": torch.tensor([float(label) for _, label in patches]),
    }
    model = MRAD(
        width=found["image_keys"].shape[1],
        patch_width=found["patch_keys"].shape[1],
        image_keys=len(images),
        patch_keys=len(patches),
    )
    model.load_state_dict(found)
    return model


def _patch_keys(features: ImageFeatures, truth: Truth) -> list[tuple[Tensor, int]]:
    """Keys and labels of a batch's patches; of an image the key of its normal ones first."""
    if len(features.patches) != 1:
        raise ConfigError(_ONE_LAYER.format(count=len(features.patches)))
    means = neighbor_means(features.patches[0], features.grid)
    abnormal = (truth.labels > 0).reshape(-1, 1, 1)
    masks = torch.where(abnormal, truth.masks.float(), 0.0)
    shares = interpolate(masks[:, None], size=features.grid, mode="bilinear", align_corners=False).flatten(1)
    found = []
    for place in (truth.has_mask | (truth.labels == 0)).nonzero().flatten().tolist():
        for label in (0, 1):
            chosen = means[place][shares[place] == label]  # the middle of the others lies on an outline
            if len(chosen):
                found.append((normalize(chosen.mean(dim=0), dim=0).cpu(), label))
    return found


def _check_labels(labels: Sequence[int], what: str) -> None:
    for label, kind in ((0, "normal"), (1, "abnormal")):
        if label not in labels:
            advice = "Add such images, or change data.classes or hold_out."
            if what == "patch":
                place = "inside a defect" if label else "outside of all defects"
                advice = f"No patch of the images has its middle {place}. Add images with masks, or raise image_size."
            raise ConfigError(f"MRAD-TF has no {kind} {what} to remember, so it could not tell anything. {advice}")


# The authors pass 24 where AnomalyCLIP's program passes 20: the local stream begins four blocks earlier.
METHOD = Method(
    name="mrad",
    title="MRAD-TF",
    source="Memory-driven retrieval, arXiv 2602.00522",
    model=MRAD,
    spec=replace(TOWER, local_from=2, patch_post="raw"),
    clip_name="ViT-L-14-336",
    options=MRADOptions,
    memory=remembered,
    protocol="anomalyclip",
    code_license="MIT",
    fidelity="reconstruction",
    scope=(
        "The variant without training, from the formulas; no number of the authors' program was at hand, "
        "and how its mean over neighbors treats edges is not published."
    ),
)
