"""FAPrompt (arXiv 2410.10289): ten kinds of abnormality as prompts, shifted by the image (METHODS D.3).

Each image is compared with two pairs of texts: the static one, and one whose abnormal prompts its own patches have
shifted. Index 0 is normal, 1 abnormal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.errors import WeightsError
from medzsad.methods.base import Draws, Method, Options, Prediction
from medzsad.methods.losses import map_losses
from medzsad.methods.maps import class_planes
from medzsad.methods.objective import Stage, Truth, all_parameters
from medzsad.methods.prompt_files import PromptFileImporter
from medzsad.methods.prompts import (
    ABNORMAL_WORDS,
    NORMAL_WORDS,
    TOWER,
    DeepPromptOptions,
    WordedPromptModel,
    cosine_logits,
    encode_prompts,
    fresh_tokens,
    image_logits,
    worded,
)

_ADAPTED_WEIGHT, _ORTHOGONALITY_WEIGHT = 0.5, 0.1
_REDUCTION = 16
_MAP_PARTS = ("focal", "dice_abnormal", "dice_normal")
_PARTS = (
    *(f"{part}{number}" for number in (1, 2) for part in _MAP_PARTS),
    *("image", "image_focal", "orthogonality", "bias"),
)


class FAPromptTrainOptions(DeepPromptOptions):
    """How FAPrompt is trained; the defaults are the authors'.

    Attributes:
        normal_tokens: Learned tokens of the normal prompt, which the abnormal ones begin with too.
        abnormal_tokens: Further learned tokens of each abnormal prompt.
        abnormal_prompts: Number of these.
        selected_patches: Patches, the first ones row by row, that shift the abnormal prompts.
    """

    normal_tokens: int = Field(default=5, ge=1)
    abnormal_tokens: int = Field(default=2, ge=1)
    abnormal_prompts: int = Field(default=10, ge=1)
    selected_patches: int = Field(default=10, ge=1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Images compared with both pairs of texts.

    Attributes:
        static: (1 + K, D) text features, not normalized, normal first.
        shift: (b, D), what the images add to the abnormal tokens.
        adapted: (b, 1 + K, D) text features with it.
        patch_logits: (b, N, 2) of the patches for the static, then for the adapted pair.
        image_logits: (b, 2) of the class tokens for the adapted pair.
        probability: (b,) of the image, from these.
        maxima: (b, 2) probability of the most abnormal patch for either pair.
        score: (b,) in [0, 1].
    """

    static: Tensor
    shift: Tensor
    adapted: Tensor
    patch_logits: tuple[Tensor, Tensor]
    image_logits: Tensor
    probability: Tensor
    maxima: Tensor
    score: Tensor


class FAPrompt(WordedPromptModel):
    """The learned part of FAPrompt; the CLIP tower stays outside.

    Args:
        width: Joint width D of the tower, equal to the width of its text tokens.
        hidden: Inner width of the network that makes the shift.
        normal_tokens: See `FAPromptTrainOptions`, as for the following.
        abnormal_tokens: As above.
        abnormal_prompts: As above.
        selected_patches: As above.
        deep_prompts: See `DeepPromptOptions`.
        deep_tokens: As above.
        table_rows: See `WordedPromptModel`.
    """

    def __init__(
        self,
        *,
        width: int,
        hidden: int,
        normal_tokens: int = 5,
        abnormal_tokens: int = 2,
        abnormal_prompts: int = 10,
        selected_patches: int = 10,
        deep_prompts: int = 8,
        deep_tokens: int = 4,
        table_rows: int = 0,
    ) -> None:
        super().__init__(text_width=width, deep_prompts=deep_prompts, deep_tokens=deep_tokens, table_rows=table_rows)
        self.sizes = {
            "width": width,
            "hidden": hidden,
            "normal_tokens": normal_tokens,
            "abnormal_tokens": abnormal_tokens,
            "abnormal_prompts": abnormal_prompts,
            "selected_patches": selected_patches,
            "deep_prompts": deep_prompts,
            "deep_tokens": deep_tokens,
            "table_rows": table_rows,
        }
        self.normal = fresh_tokens(normal_tokens, width)
        self.abnormal = fresh_tokens(abnormal_prompts, abnormal_tokens, width)
        self.shift = nn.Sequential(nn.Linear(selected_patches * width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    @classmethod
    def sizes_for(cls, tower: Tower, options: FAPromptTrainOptions) -> dict[str, int]:
        """Sizes for a tower."""
        hidden = max(1, options.selected_patches * tower.joint_width // _REDUCTION)
        return {"width": tower.joint_width, "hidden": hidden, **options.model_dump()}

    @property
    def tower_widths(self) -> tuple[int, int, int]:
        """All the same: the shift made of patches is added to tokens."""
        width = self.sizes["width"]
        return width, width, width

    def check_tower(self, tower: Tower) -> None:
        """Raises a WeightsError if the tower is another one, or has fewer patches than the shift is made of."""
        super().check_tower(tower)
        rows, columns = tower.clip.visual.grid_size
        if rows * columns < self.sizes["selected_patches"]:
            raise WeightsError(
                f"The prompts are shifted by the first {self.sizes['selected_patches']} patches of an image, the tower "
                f"has {rows * columns}. Choose a larger image size."
            )

    def text_embeddings(self, tower: Tower, shift: Tensor | None = None) -> Tensor:
        """(b, 1 + K, D) text features, not normalized, normal first; b = 1 without a shift (b, D)."""
        images = 1 if shift is None else len(shift)
        normal = self.normal.expand(images, -1, -1)
        abnormal = self.abnormal.expand(images, -1, -1, -1)
        if shift is not None:
            abnormal = abnormal + shift[:, None, None]
        count = abnormal.shape[1]
        tokens = torch.cat((normal[:, None].expand(-1, count, -1, -1), abnormal), dim=2).flatten(0, 1)
        prompts = (worded(tower, normal, NORMAL_WORDS), worded(tower, tokens, ABNORMAL_WORDS))
        found = encode_prompts(tower, prompts, self.deep)
        return torch.cat((found[:images, None], found[images:].reshape(images, count, -1)), dim=1)

    def compare(self, tower: Tower, features: ImageFeatures) -> Comparison:
        """Images, by their last layer, compared with the static texts and with their own."""
        patches = normalize(features.patches[-1].float(), dim=-1)
        # The authors look the most abnormal patches up and then take the first ones; weights are learned with these.
        shift = self.shift(patches[:, : self.sizes["selected_patches"]].flatten(1)).float()
        static, adapted = self.text_embeddings(tower), self.text_embeddings(tower, shift)
        own = text_pair(adapted)
        with torch.autocast(static.device.type, enabled=False):  # a mixed-precision product is too coarse for logits
            logits = cosine_logits(patches, text_pair(static)), cosine_logits(patches, own)
            of_images = image_logits(features.cls, own)
        maxima = torch.stack([one.softmax(dim=-1)[..., 1].amax(dim=1) for one in logits], dim=1)
        probability = of_images.softmax(dim=-1)[:, 1]
        score = 0.5 * (probability + (2 * maxima[:, 0] + maxima[:, 1]) / 3)
        return Comparison(static[0], shift, adapted, logits, of_images, probability, maxima, score)

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: Options,
    ) -> Prediction:
        """Scores of images, the map as it is before any smoothing."""
        found = self.compare(tower, features)
        abnormal = torch.stack(found.patch_logits).softmax(dim=-1)[..., 1:].mean(dim=0)
        return Prediction(class_planes(abnormal, features.grid, size, "bilinear")[:, 0], found.score, None)


def text_pair(embeddings: Tensor) -> Tensor:
    """(b, 2, D) unit features of the normal prompt and of the mean of the abnormal ones, of (b, 1 + K, D)."""
    return normalize(torch.stack((embeddings[:, 0], embeddings[:, 1:].mean(dim=1)), dim=1), dim=-1)


class FAPromptObjective:
    """One stage learns everything (METHODS D.3)."""

    stages = (Stage("prompts", _PARTS, all_parameters, "pixel_ap", "constant", summed=("bias",)),)

    def __init__(self, options: FAPromptTrainOptions) -> None:
        self.options = options

    def losses(
        self,
        model: FAPrompt,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step."""
        found, known = model.compare(tower, features), truth.has_mask
        parts: dict[str, Tensor] = {}
        for number, (logits, weight) in enumerate(zip(found.patch_logits, (1, _ADAPTED_WEIGHT), strict=True), start=1):
            losses = map_losses(logits[known], features.grid, truth.masks[known].float(), "bilinear")
            parts |= {f"{part}{number}": weight * loss for part, loss in zip(_MAP_PARTS, losses, strict=True)}
        return parts | {
            "image": cross_entropy(found.image_logits, truth.labels),
            "image_focal": _score_loss(found.score, truth.labels),
            "orthogonality": _ORTHOGONALITY_WEIGHT * _likeness(found.static[1:]),
            "bias": ((found.shift**2).mean(dim=1) * (truth.labels == 0)).sum(),
        }

    def used_with(self, stage: Stage) -> Options:
        """There is nothing to choose."""
        return Options()


def _score_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of image scores (b,), which the authors take for logits though they lie in [0, 1]."""
    losses = binary_cross_entropy_with_logits(scores, labels.float(), reduction="none")
    return ((1 - torch.exp(-losses)) ** 2 * losses).mean()


def _likeness(embeddings: Tensor) -> Tensor:
    """Sum of the absolute cosines of all pairs of (K, D)."""
    unit = normalize(embeddings, dim=-1)
    return (unit @ unit.T).abs().triu(diagonal=1).sum()


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    (tokens, width), (prompts, more, _) = state["normal"].shape, state["abnormal"].shape
    hidden, joined = state["shift.0.weight"].shape
    return {
        "width": width,
        "hidden": hidden,
        "normal_tokens": tokens,
        "abnormal_tokens": more,
        "abnormal_prompts": prompts,
        "selected_patches": joined // width,
    }


# Ignored by the authors' programs: the list of layers (the last one is read) and the length of prompts that they take.
METHOD = Method(
    name="faprompt",
    title="FAPrompt",
    source="Fine-grained abnormality prompt learning, arXiv 2410.10289",
    model=FAPrompt,
    spec=TOWER,
    clip_name="ViT-L-14-336",
    train_options=FAPromptTrainOptions,
    objective=FAPromptObjective,
    importer=PromptFileImporter(
        title="FAPrompt",
        sizes=_sizes,
        axes={"abnormal": 3, "shift.0.weight": 2},
        marks=("patch_meta_net.",),
        renames=(
            (r"patch_meta_net\.linear1\.(.+)", r"shift.0.\1"),
            (r"patch_meta_net\.linear2\.(.+)", r"shift.2.\1"),
        ),
        unused=r"compound_prompt_projections\..*",
    ),
    protocol="faprompt",
    code_license="MIT",
    fidelity="exact",
    scope="Inference and training, with files in the authors' format; they have published none.",
)
