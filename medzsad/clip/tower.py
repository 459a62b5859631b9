"""CLIP towers: built from a model config or a state dict, frozen, with what the methods ask of them."""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor

from medzsad.clip.attention import fuse_attention
from medzsad.clip.dino import DinoGuide
from medzsad.clip.guide import Guide
from medzsad.clip.hybrid import TAPS, hybrid_from_config
from medzsad.clip.positions import resize_positions
from medzsad.clip.spec import TowerSpec
from medzsad.clip.text import encode_embeddings
from medzsad.clip.vision import ImageFeatures, image_features, patch_width
from medzsad.errors import WeightsError

# Widths whose heads are not 64 wide, in the published models of open_clip: ViT-H, ViT-g, ViT-bigG.
_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
# What open_clip builds before the hybrid vision tower takes its place.
_PLACEHOLDER = {"image_size": 16, "patch_size": 16, "width": 8, "layers": 1, "head_width": 8}


@dataclass(frozen=True, slots=True)
class Tower:
    """A frozen CLIP model and what a method asks of it.

    Attributes:
        clip: The model.
        spec: What is read from it.
        arithmetic: Context in which the transformers are called; float32 unless a caller sets another.
        backbone: Guides the image features; None where they are the tower's own.
    """

    clip: open_clip.CLIP
    spec: TowerSpec
    arithmetic: Callable[[], AbstractContextManager[object]] = nullcontext
    backbone: DinoGuide | None = None

    @property
    def joint_width(self) -> int:
        """Width D of the space that images and texts share."""
        return int(self.clip.visual.output_dim)

    @property
    def text_width(self) -> int:
        """Width of the text tokens."""
        return int(self.clip.token_embedding.embedding_dim)

    @property
    def patch_width(self) -> int:
        """Width C of the patch tokens."""
        return patch_width(self.clip, self.spec)

    @property
    def widths(self) -> tuple[int, int, int]:
        """Joint, text and patch width."""
        return self.joint_width, self.text_width, self.patch_width

    def fits(self, widths: Sequence[int | None]) -> bool:
        """Whether joint, text and patch width are these; None stands for any."""
        return all(needed in {None, own} for needed, own in zip(widths, self.widths, strict=True))

    def features(self, images: Tensor, guide: Guide | None = None) -> ImageFeatures:
        """Class token and patch tokens of (b, 3, S, S) CLIP-normalized images; S = spec.image_size.

        With a guide, tokens that it guides come before those of the layers, see `medzsad.clip.guide`. If none is given,
        it is made of the tower's backbone, where there is one.
        """
        with self.arithmetic():
            if guide is None and self.backbone is not None:
                guide = Guide(self.backbone(images))
            return image_features(self.clip, self.spec, images, guide)

    def embed(self, ids: Tensor) -> Tensor:
        """The token embeddings (..., C) of token numbers (...)."""
        rows: Tensor = self.clip.token_embedding(ids)
        return rows

    def encode(self, embeds: Tensor, eot: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Text features (n, D) float32, not normalized; see `medzsad.clip.text.encode_embeddings`."""
        with self.arithmetic():
            return encode_embeddings(self.clip, embeds, eot, deep).float()


def build_tower(model_config: dict[str, Any], spec: TowerSpec) -> open_clip.CLIP:
    """A CLIP tower with random weights, its position grid of the size of `spec.image_size`.

    Args:
        model_config: `embed_dim`, `vision_cfg`, `text_cfg` as in open_clip's model configs; the activation and the
            image size are those of `spec`. A `vision_cfg` of the `kind` "hybrid" is that of `medzsad.clip.hybrid`.
        spec: What the method asks of the tower.

    Raises:
        WeightsError: The config is of a kind that the methods cannot use, or does not fit the spec.
    """
    vision, text = dict(model_config["vision_cfg"]), dict(model_config["text_cfg"])
    _check_config(vision, text, spec)
    vision["image_size"] = spec.image_size
    embed_dim, quick_gelu = model_config["embed_dim"], spec.activation == "quick_gelu"
    if vision.get("kind") == "hybrid":
        clip = CLIP(embed_dim, _PLACEHOLDER, text, quick_gelu=quick_gelu)
        clip.visual = hybrid_from_config(embed_dim, vision, spec.image_size)
    else:
        clip = CLIP(embed_dim, vision, text, quick_gelu=quick_gelu)
    fuse_attention(clip)
    return clip


def _check_config(vision: dict[str, Any], text: dict[str, Any], spec: TowerSpec) -> None:
    if vision.get("timm_model_name") or not isinstance(vision.get("layers", 12), int):
        raise WeightsError("The CLIP tower has no vision transformer of open_clip's own; choose a ViT model.")
    if text.get("hf_model_name") or text.get("no_causal_mask") or text.get("embed_cls"):
        raise WeightsError("The CLIP tower has no causal text transformer of CLIP's kind; choose another model.")
    as_it_comes = spec.attention == "plain" and spec.cls_post_norm
    if vision.get("kind") == "hybrid" and not as_it_comes:
        raise WeightsError(
            "The method reads a vision transformer block by block, which the embedded tower is not. Name a CLIP tower "
            "such as ViT-L-14-336/openai."
        )
    patch = vision.get("patch_size", 16)
    if spec.image_size % patch:
        raise WeightsError(f"Image size {spec.image_size} is not a multiple of the tower's patch size {patch}.")
    last = TAPS if vision.get("kind") == "hybrid" else vision.get("layers", 12)
    if spec.layers[-1] > last:
        raise WeightsError(f"Layer {spec.layers[-1]} was asked for, the tower has {last}.")


def tower_from_state(model_config: dict[str, Any], spec: TowerSpec, state: dict[str, Tensor]) -> open_clip.CLIP:
    """A frozen float32 tower with the tensors of `state`, its position grid resized as `spec` says.

    Raises:
        WeightsError: A tensor is missing, unknown, of another shape, or holds numbers that are not finite.
    """
    with torch.device("meta"):  # open_clip's random initialization of a large tower takes longer than loading it
        clip = build_tower(model_config, spec)
    # Copies, because a file mapped into memory is not aligned as sums expect: their last digit would depend on it.
    state = {name: value.to(torch.float32, copy=True) for name, value in state.items()}
    if bad := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"The CLIP weights are damaged: {bad[0]} holds numbers that are not finite.")
    state.setdefault("logit_scale", torch.tensor(math.log(1 / 0.07)))
    table = state.get("visual.positional_embedding")
    if table is None or table.ndim != 2 or math.isqrt(len(table) - 1) ** 2 != len(table) - 1:
        raise WeightsError("The CLIP weights have no square grid of image positions (visual.positional_embedding).")
    grid = getattr(clip.visual, "position_grid", clip.visual.grid_size[0])
    state["visual.positional_embedding"] = resize_positions(table, grid, spec.position_resize)
    try:
        clip.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"The CLIP weights do not fit a tower of these sizes: {_first_lines(error)}") from error
    length = clip.context_length
    clip.attn_mask = torch.full((length, length), -torch.inf).triu_(1)
    return clip.eval().requires_grad_(False)


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[1:3])[:300]


def infer_model_config(state: dict[str, Tensor]) -> dict[str, Any]:
    """The open_clip model config of a state dict with OpenAI's names.

    Raises:
        WeightsError: It is not that of a CLIP with a vision transformer.
    """
    try:
        conv, table = state["visual.conv1.weight"], state["token_embedding.weight"]
        hidden = state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        text_hidden = state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        context_length, embed_dim = len(state["positional_embedding"]), state["visual.proj"].shape[1]
    except KeyError as error:
        raise WeightsError(f"Not the weights of a CLIP with a vision transformer: {error} is missing.") from error
    vision_width, text_width = conv.shape[0], table.shape[1]
    return {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "layers": _count_blocks(state, "visual.transformer"),
            "width": vision_width,
            "head_width": min(_HEAD_WIDTHS.get(vision_width, 64), vision_width),
            "mlp_ratio": (hidden + 0.5) / vision_width,  # open_clip rounds width * ratio down
            "patch_size": conv.shape[-1],
        },
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": len(table),
            "width": text_width,
            "heads": max(1, text_width // 64),
            "layers": _count_blocks(state, "transformer"),
            "mlp_ratio": (text_hidden + 0.5) / text_width,
        },
    }


def _count_blocks(state: dict[str, Tensor], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"\.resblocks\.\d+\.ln_1\.weight")
    return sum(pattern.fullmatch(name) is not None for name in state)
