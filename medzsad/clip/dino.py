"""DINOv2, the backbone whose features guide those of Crane+ (METHODS D.2); its architecture is timm's.

timm is a requirement of open_clip. It is imported when a guide is asked for.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medzsad.errors import ConfigError, WeightsError
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ADVICE = (
    "Give Meta's file dinov2_vitb14_reg4_pretrain.pth, or the model.safetensors of "
    "timm/vit_base_patch14_reg4_dinov2.lvd142m."
)
# The authors' program loads Meta's dinov2_vitb14_reg. Its table of positions is that of images of this side.
_NAME, _SIDE = "vit_base_patch14_reg4_dinov2", 518
# What tests build smaller.
_CHANGES: dict[str, Any] = {}


class DinoGuide(nn.Module):
    """DINOv2 as the authors of Crane read it.

    Args:
        vit: timm's vision transformer, built for square images of one size.
    """

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        """Features (b, C, h, w) of (b, 3, S, S) CLIP-normalized images, h = w = S / 14.

        They are the patch tokens of the last block after the final norm, without class token and registers.
        """
        # The authors call get_intermediate_layers(x, reshape=True)[0] of Meta's program, that is the last block after
        # the final norm; the function of that name in timm leaves the norm out unless it is told.
        vit: Any = self.vit
        found: Tensor = vit.get_intermediate_layers(imagenet_normalized(images), n=1, reshape=True, norm=True)[0]
        return found


def imagenet_normalized(images: Tensor) -> Tensor:
    """CLIP-normalized images (b, 3, H, W), normalized as for ImageNet; values are cut off at black and white."""
    clip_mean, clip_std, mean, std = (
        images.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD)
    )
    return ((images * clip_std + clip_mean).clamp(0, 1) - mean) / std


def dino_from_state(content: object, image_size: int) -> DinoGuide:
    """A frozen float32 DINOv2 ViT-B/14 with four registers.

    Args:
        content: State dict under Meta's or timm's names.
        image_size: Side of the images in pixels. Positions of another side than 518 are resized as Meta's program
            does (bicubic, antialiased).

    Raises:
        ConfigError: The side is not a multiple of the patch size.
        WeightsError: The content is not that of this architecture, or holds numbers that are not finite.
    """
    from timm.models.vision_transformer import checkpoint_filter_fn

    vit = _fresh_vit()
    patch = vit.patch_embed.patch_size[0]
    if image_size % patch:
        raise ConfigError(f"DINOv2 needs images whose side is a multiple of {patch} pixels, {image_size} is none.")
    state = _checked(content, {name: tuple(value.shape) for name, value in vit.state_dict().items()})
    vit.load_state_dict(checkpoint_filter_fn(state, vit))
    if image_size != _SIDE:
        vit.set_input_size(img_size=(image_size, image_size))
    return DinoGuide(vit).eval().requires_grad_(False)


def _fresh_vit() -> Any:
    import timm

    # Nothing is fetched: `pretrained` is off. What is initialized here is overwritten.
    return timm.create_model(_NAME, pretrained=False, num_classes=0, img_size=_SIDE, weight_init="skip", **_CHANGES)


def _checked(content: object, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The state dict, in float32, if it has exactly the names and shapes of timm's or of Meta's model.

    timm's renaming would silently resize the patches and positions of another model.
    """
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"it holds no state dict. {ADVICE}")
    if "register_tokens" in content:
        expected = _metas(expected)
    given = {name: tuple(value.shape) for name, value in content.items()}
    if not {"register_tokens", "reg_token"} & set(given):
        raise WeightsError(f"it is not DINOv2 with registers: register_tokens or reg_token is missing. {ADVICE}")
    if wrong := sorted(name for name in {*expected, *given} if expected.get(name) != given.get(name)):
        name = wrong[0]
        raise WeightsError(
            f"it is not DINOv2 ViT-B/14 with registers: {name} has the shape {given.get(name, 'of nothing')}, "
            f"{expected.get(name, 'nothing of this name')} is expected. {ADVICE}"
        )
    state = {name: value.detach().to(torch.float32, copy=True) for name, value in content.items()}
    if bad := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"it is damaged: {bad[0]} holds numbers that are not finite. {ADVICE}")
    return state


def _metas(expected: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of Meta's file: positions count the class token, and a token for masked patches is there."""
    named = {name: shape for name, shape in expected.items() if name != "reg_token"}
    one, places, width = expected["pos_embed"]
    return named | {
        "register_tokens": expected["reg_token"],
        "pos_embed": (one, places + 1, width),
        "mask_token": (one, width),
    }
