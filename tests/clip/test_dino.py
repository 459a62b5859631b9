"""DINOv2 as a guide: against a plain computation from Meta's numbers, in both formats, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear
from torchvision.transforms.functional import normalize as torchvision_normalize

from medzsad.clip.dino import dino_from_state, imagenet_normalized
from medzsad.errors import ConfigError, WeightsError
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD
from tests import guides

SIDE = guides.PATCH * guides.GRID


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    guides.make_small(monkeypatch)


def _plain(state: dict[str, Tensor], images: Tensor, positions: Tensor | None = None) -> Tensor:
    """Features of one image after another by the published structure, from Meta's names; images as for ImageNet."""
    width, heads, found = guides.WIDTH, guides.HEADS, []

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    for image in images:
        patches = conv2d(
            image[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=guides.PATCH
        )[0]
        grid = patches.shape[1:]
        x = torch.cat((state["cls_token"][0], patches.flatten(1).T))
        x = x + (state["pos_embed"][0] if positions is None else positions)
        x = torch.cat((x[:1], state["register_tokens"][0], x[1:]))
        for place in range(guides.DEPTH):
            block = f"blocks.{place}."
            q, k, v = (
                part.reshape(len(x), heads, -1).transpose(0, 1)
                for part in dense(norm(x, block + "norm1"), block + "attn.qkv").chunk(3, dim=1)
            )
            mixed = (q @ k.transpose(1, 2) / math.sqrt(width // heads)).softmax(dim=2) @ v
            x = x + state[block + "ls1.gamma"] * dense(mixed.transpose(0, 1).flatten(1), block + "attn.proj")
            inner = gelu(dense(norm(x, block + "norm2"), block + "mlp.fc1"))
            x = x + state[block + "ls2.gamma"] * dense(inner, block + "mlp.fc2")
        found.append(norm(x, "norm")[1 + guides.REGISTERS :].T.reshape(width, *grid))
    return torch.stack(found)


@pytest.mark.parametrize("layout", [lambda state: state, guides.timm_state], ids=["meta", "timm"])
def test_features_of_both_formats_are_those_of_a_plain_computation(
    layout: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    state, images = guides.meta_state(), guides.images(3)
    found = dino_from_state(layout(state), SIDE)(images)
    assert found.shape == (3, guides.WIDTH, guides.GRID, guides.GRID)
    torch.testing.assert_close(found, _plain(state, imagenet_normalized(images)), atol=2e-5, rtol=0)


def test_both_formats_give_the_same_features_to_the_bit_and_are_left_as_they_are() -> None:
    meta, images = guides.meta_state(), guides.images(2)
    names = set(meta)
    kept = {name: value.clone() for name, value in meta.items()}
    first = dino_from_state(meta, SIDE)
    second = dino_from_state(guides.timm_state(meta), SIDE)
    assert torch.equal(first(images), second(images))
    assert set(meta) == names
    assert all(torch.equal(meta[name], value) for name, value in kept.items())
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert not first.training


def test_an_image_has_the_same_features_alone_and_in_a_batch() -> None:
    guide, images = dino_from_state(guides.meta_state(), SIDE), guides.images(4)
    whole = guide(images)
    for place in range(4):
        torch.testing.assert_close(guide(images[place : place + 1])[0], whole[place], atol=1e-5, rtol=0)


def test_half_precision_of_a_file_is_read_as_float32() -> None:
    half = {name: value.half() for name, value in guides.meta_state().items()}
    guide = dino_from_state(half, SIDE)
    assert all(parameter.dtype == torch.float32 for parameter in guide.parameters())


def test_clip_normalized_images_become_those_that_dinov2_was_trained_on() -> None:
    gray = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted = torchvision_normalize(gray, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(
        imagenet_normalized(torchvision_normalize(gray, CLIP_MEAN, CLIP_STD)), wanted, atol=1e-6, rtol=0
    )
    beyond = torch.stack((torch.full((3, 2, 2), -0.5), torch.full((3, 2, 2), 1.5)))
    wanted = torchvision_normalize(beyond.clamp(0, 1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(
        imagenet_normalized(torchvision_normalize(beyond, CLIP_MEAN, CLIP_STD)), wanted, atol=1e-6, rtol=0
    )


def test_positions_of_another_image_size_are_resized_bicubically() -> None:
    state, larger = guides.meta_state(), 6
    images = torch.randn(1, 3, larger * guides.PATCH, larger * guides.PATCH, generator=torch.Generator().manual_seed(3))
    table = state["pos_embed"][0]
    plane = table[1:].T.reshape(1, guides.WIDTH, guides.GRID, guides.GRID)
    plane = interpolate(plane, size=(larger, larger), mode="bicubic", antialias=True)
    positions = torch.cat((table[:1], plane[0].flatten(1).T))
    found = dino_from_state(state, larger * guides.PATCH)(images)
    torch.testing.assert_close(found, _plain(state, imagenet_normalized(images), positions), atol=2e-5, rtol=0)
    with pytest.raises(ConfigError, match="multiple of 7 pixels, 30 is none"):
        dino_from_state(state, 30)


def _without(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def _with_nan(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state["blocks.1.mlp.fc2.weight"][3, 3] = torch.nan
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("register_tokens"), "not DINOv2 with registers"),
        (_without("mask_token"), r"mask_token has the shape of nothing, \(1, 32\) is expected"),
        (_without("blocks.1.ls2.gamma"), "blocks.1.ls2.gamma has the shape of nothing"),
        (lambda state: state | {"head.weight": torch.zeros(3, 3)}, "head.weight .*nothing of this name"),
        (lambda state: guides.meta_state(patch=8), r"patch_embed.proj.weight has the shape \(32, 3, 8, 8\)"),
        (lambda state: guides.meta_state(grid=5), r"pos_embed has the shape \(1, 26, 32\)"),
        (lambda state: guides.timm_state(guides.meta_state(grid=5)), r"pos_embed has the shape \(1, 25, 32\)"),
        (lambda state: guides.meta_state(width=48), "blocks.0.attn.proj.bias"),
        (lambda state: guides.meta_state(depth=3), "blocks.2"),
        (_with_nan, "damaged: blocks.1.mlp.fc2.weight"),
        (lambda state: {"model": state}, "no state dict"),
        (lambda state: [1, 2], "no state dict"),
    ],
)
def test_another_model_or_a_damaged_one_is_refused(change: Callable[[dict[str, Tensor]], Any], words: str) -> None:
    with pytest.raises(WeightsError, match=f"{words}.*dinov2_vitb14_reg4_pretrain.pth"):
        dino_from_state(change(guides.meta_state()), SIDE)


@pytest.mark.slow
def test_the_model_of_the_authors_is_read_from_both_formats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from medzsad.clip import dino
    from medzsad.weights.guide import load_guide

    monkeypatch.setattr(dino, "_CHANGES", {})
    monkeypatch.setattr(dino, "_SIDE", 518)
    meta = guides.meta_state(width=768, depth=12, patch=14, grid=37)
    torch.save(meta, tmp_path / "dinov2_vitb14_reg4_pretrain.pth")
    torch.save(guides.timm_state(meta), tmp_path / "pytorch_model.bin")
    image = torch.randn(1, 3, 518, 518, generator=torch.Generator().manual_seed(0))
    first, _ = load_guide(tmp_path / "dinov2_vitb14_reg4_pretrain.pth", 518)
    second, _ = load_guide(tmp_path / "pytorch_model.bin", 518)
    assert sum(parameter.numel() for parameter in first.parameters()) == 86_582_016
    with torch.inference_mode():
        found = first(image)
        assert found.shape == (1, 768, 37, 37)
        assert torch.equal(found, second(image))
