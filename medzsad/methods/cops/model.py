"""CoPS (arXiv 2508.03447): prompts that are put together from the image itself (METHODS B).

Prototypes pooled from an image's own patches shift the state tokens, draws of a small variational decoder shift the
category tokens, and distances to the prototypes weigh the map. No class name takes part. Index 0 is normal, 1 abnormal.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, normalize

from medzsad.clip.text import token_ids
from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws, Options, Prediction, PromptModel
from medzsad.methods.prompts import repeated_deep

_TEMPERATURE = 0.07


def _odd(value: int) -> int:
    if value < 1 or value % 2 == 0:
        raise ValueError("it must be an odd number, so that a patch lies in the middle of its neighborhood")
    return value


OddNumber = Annotated[int, AfterValidator(_odd)]


class CoPSOptions(Options):
    """How CoPS weights are used; the defaults are those for medical images.

    Attributes:
        neighbors: Side of the square of patches over which features are averaged before they meet the prototypes.
        normal_share: Share of the distance to the normal prototypes in the weight of a patch, the rest being the
            nearness to the abnormal ones.
        probability_share: Share of the image head's probability in the image score, the rest being the highest patch.
    """

    neighbors: OddNumber = 5
    normal_share: float = Field(default=0.26, ge=0, le=1)
    probability_share: float = Field(default=0.9, ge=0, le=1)


class CoPSTrainOptions(Options):
    """How CoPS is trained; the defaults are those for VisA.

    Attributes:
        context_tokens: Learned tokens of a prompt that nothing shifts.
        state_tokens: Learned tokens that the prototypes shift; one prototype each.
        category_tokens: Learned tokens that the decoder's draws shift.
        deep_prompts: Text blocks, from the second on, whose first tokens are replaced by learned ones.
        deep_tokens: Number of these tokens.
        neighbors: As in `CoPSOptions`; the authors take 5 for VisA and 3 for MVTec AD.
        reconstruction_weight: Weight of the decoder's reconstruction of the class token; 0 for VisA, 1 for MVTec AD.
        legacy_reconstruction: Compare each reconstruction with the class tokens of all images of the batch, as the
            authors' program does, in place of the image's own.
    """

    context_tokens: int = Field(default=6, ge=1)
    state_tokens: int = Field(default=6, ge=1)
    category_tokens: int = Field(default=2, ge=1)
    deep_prompts: int = Field(default=8, ge=0)
    deep_tokens: int = Field(default=4, ge=1)
    neighbors: OddNumber = 5
    reconstruction_weight: float = Field(default=0.0, ge=0)
    legacy_reconstruction: bool = False


class PrototypeExtractor(nn.Module):
    """Prototypes of an image: learned queries look at its patches once, then pass an MLP (METHODS B.4)."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.expand, self.contract = nn.Linear(width, width), nn.Linear(width, width)
        for linear in (self.attention.out_proj, self.expand, self.contract):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """(b, K, D) prototypes from queries (K, D) and patches (b, N, D)."""
        x = queries.expand(len(patches), -1, -1)
        seen = self.norm_attention(patches)  # one norm for queries and patches, as with the authors
        x = x + self.attention(self.norm_attention(x), seen, seen, need_weights=False)[0]
        hidden = self.expand(self.norm_mlp(x))
        result: Tensor = x + self.contract(hidden * torch.sigmoid(1.702 * hidden))
        return result


class CategoryEncoder(nn.Module):
    """Mean and log-variance of an image's category, from its class token; for training only."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.hidden, self.mean, self.log_variance = (nn.Linear(width, width) for _ in range(3))

    def forward(self, cls: Tensor) -> tuple[Tensor, Tensor]:
        """(b, D) each."""
        x = self.hidden(cls).relu()
        return self.mean(x), self.log_variance(x)


class CoPS(PromptModel):
    """The learned part of CoPS; the CLIP tower stays outside.

    Args:
        width: Joint width D of the tower, equal to the width of its text tokens.
        context_tokens: See `CoPSTrainOptions`, as for the following.
        state_tokens: Also the number of prototypes of each kind.
        category_tokens: As above.
        deep_prompts: As above.
        deep_tokens: As above.
        heads: Attention heads of the prototype extractor.
    """

    shared_draws = frozenset()

    def __init__(
        self,
        *,
        width: int,
        context_tokens: int = 6,
        state_tokens: int = 6,
        category_tokens: int = 2,
        deep_prompts: int = 8,
        deep_tokens: int = 4,
        heads: int = 12,
    ) -> None:
        super().__init__()
        self.sizes = {
            "width": width,
            "context_tokens": context_tokens,
            "state_tokens": state_tokens,
            "category_tokens": category_tokens,
            "deep_prompts": deep_prompts,
            "deep_tokens": deep_tokens,
            "heads": heads,
        }
        learned = context_tokens + state_tokens + category_tokens
        self.prompt_normal, self.prompt_abnormal = (nn.Parameter(0.02 * torch.randn(learned, width)) for _ in "na")
        self.query_normal, self.query_abnormal = (nn.Parameter(0.02 * torch.randn(state_tokens, width)) for _ in "na")
        self.extractor = PrototypeExtractor(width=width, heads=heads)
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.deep = nn.ParameterList(nn.Parameter(0.02 * torch.randn(deep_tokens, width)) for _ in range(deep_prompts))
        self.encoder: CategoryEncoder | None = None

    @classmethod
    def sizes_for(cls, tower: Tower, options: CoPSTrainOptions) -> dict[str, int]:
        """Sizes for a tower; heads are 64 wide where the tower's width allows it."""
        width = tower.joint_width
        given = {name: getattr(options, name) for name in ("context_tokens", "state_tokens", "category_tokens")}
        deep = {"deep_prompts": options.deep_prompts, "deep_tokens": options.deep_tokens}
        return {"width": width, **given, **deep, "heads": max(1, width // 64) if width % 64 == 0 else 1}

    @property
    def tower_widths(self) -> tuple[int, int, int]:
        """All the same: class token, prototypes and token embeddings are added to each other."""
        width = self.sizes["width"]
        return width, width, width

    @property
    def layer_count(self) -> int:
        """Several layers would be weighed by prototypes of one."""
        return 1

    def draw_shapes(self, samples: int) -> dict[str, tuple[int, ...]]:
        """(R, D) for the decoder."""
        return {"category": (samples, self.sizes["width"])}

    def prepare_training(self) -> None:
        """Adds the encoder, which no score depends on and which the authors' files leave out."""
        if self.encoder is None:
            self.encoder = CategoryEncoder(width=self.sizes["width"])

    def inference_state(self) -> dict[str, Tensor]:
        """All but the encoder."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}

    def forward(
        self,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        draws: Draws,
        size: tuple[int, int],
        options: CoPSOptions,
    ) -> Prediction:
        """Scores of images (METHODS B.7), the map as it is before any smoothing."""
        patches = smoothed_patches(features, options.neighbors)
        prototypes = self.prototypes(patches)
        text = self.text_features(tower, prototypes, self.decoder(draws["category"]))
        with torch.autocast(text.device.type, enabled=False):  # logits of a mixed-precision product are too coarse
            abnormal = patch_logits(patches, text).softmax(dim=-1)[..., 1]
            normal_distance, abnormal_distance = prototype_distances(patches, prototypes)
            weight = options.normal_share * _scaled(normal_distance)
            weight = weight + (1 - options.normal_share) * (1 - _scaled(abnormal_distance))
            scores = abnormal * weight
            probability = image_logits(features, text).softmax(dim=-1)[:, 1]
        share = options.probability_share
        image_score = share * probability + (1 - share) * scores.amax(dim=1)
        score_map = interpolate(scores.reshape(len(scores), 1, *features.grid), size=size, mode="nearest")[:, 0]
        return Prediction(score_map, image_score, None)

    def trace(
        self, tower: Tower, features: ImageFeatures, class_names: Sequence[str], draws: Draws, options: CoPSOptions
    ) -> dict[str, Tensor]:
        """`prototypes` (b, 2, K, D) and `text_features` (b, 2, D)."""
        prototypes = self.prototypes(smoothed_patches(features, options.neighbors))
        text = self.text_features(tower, prototypes, self.decoder(draws["category"]))
        return {"prototypes": prototypes, "text_features": text}

    def prototypes(self, patches: Tensor) -> Tensor:
        """(b, 2, K, D) normal and abnormal prototypes from patches (b, N, D)."""
        queries = (self.query_normal, self.query_abnormal)
        return torch.stack([self.extractor(query, patches).float() for query in queries], dim=1)

    def text_features(self, tower: Tower, prototypes: Tensor, shifts: Tensor) -> Tensor:
        """Unit text features (b, 2, D), the mean over samples.

        Args:
            tower: Its text side.
            prototypes: (b, 2, K, D), normal before abnormal.
            shifts: (b, R, D), what is added to the category tokens.
        """
        first, states, width = self.sizes["context_tokens"], self.sizes["state_tokens"], self.sizes["width"]
        images, samples = shifts.shape[:2]
        learned = torch.stack((self.prompt_normal, self.prompt_abnormal)).expand(images, samples, -1, -1, -1)
        context, state, category = torch.split(learned, [first, states, learned.shape[3] - first - states], dim=3)
        # The authors add abnormal prototypes to the normal prompt and normal ones to the abnormal prompt. What a prompt
        # means is learned with it, so weights are of use only with this very order.
        state = state + prototypes.flip(1)[:, None]
        category = category + shifts[:, :, None, None]
        start, stop, end = tower.embed(token_ids(".").to(shifts.device))
        frame = (images, samples, 2, 1, width)
        ends = torch.stack((stop, end)).expand(*frame[:3], 2, width)
        embeds = torch.cat((start.expand(frame), context, state, category, ends), dim=3).flatten(0, 2)
        eot = torch.full((len(embeds),), embeds.shape[1] - 1, device=embeds.device)
        text = normalize(tower.encode(embeds, eot, repeated_deep(self.deep, len(embeds))), dim=-1)
        return normalize(text.reshape(images, samples, 2, -1).mean(dim=1), dim=-1)


def smoothed_patches(features: ImageFeatures, neighbors: int) -> Tensor:
    """Patches (b, N, D), each the mean of the square of `neighbors` around it; beyond the border lie zeros."""
    rows, columns = features.grid
    patches = features.patches[-1].float()
    grid = patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)
    return avg_pool2d(grid, neighbors, stride=1, padding=neighbors // 2).flatten(2).transpose(1, 2)


def prototype_distances(patches: Tensor, prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """(b, N) cosine distance of each patch to the nearest normal and to the nearest abnormal prototype."""
    cosine = normalize(patches, dim=-1).unsqueeze(1) @ normalize(prototypes, dim=-1).transpose(-1, -2)  # (b, 2, N, K)
    distance = (1 - cosine).amin(dim=-1)
    return distance[:, 0], distance[:, 1]


def patch_logits(patches: Tensor, text: Tensor) -> Tensor:
    """(b, N, 2) logits of smoothed patches (b, N, D) for unit text features (b, 2, D)."""
    return normalize(patches, dim=-1) @ text.transpose(1, 2) / _TEMPERATURE


def image_logits(features: ImageFeatures, text: Tensor) -> Tensor:
    """(b, 2) logits of the class tokens."""
    return (text @ normalize(features.cls.float(), dim=-1).unsqueeze(2)).squeeze(2) / _TEMPERATURE


def _scaled(values: Tensor) -> Tensor:
    """Each row (b, N) from 0 to 1; a row of one value becomes 0."""
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    span = high - low
    return (values - low) / torch.where(span > 0, span, torch.ones_like(span))
