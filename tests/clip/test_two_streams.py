"""Local attention and deep text prompts, against loops written out one by one (METHODS B.1, B.3)."""

from dataclasses import replace

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medzsad.clip.spec import TowerSpec
from medzsad.clip.text import encode_embeddings
from medzsad.clip.tower import build_tower, tower_from_state
from medzsad.clip.vision import image_features
from tests import tiny

SPEC = replace(tiny.SPEC, attention="vv", patch_post="projected", cls_post_norm=False, activation="quick_gelu")


def _clip(spec: TowerSpec) -> open_clip.CLIP:
    torch.manual_seed(3)
    model = tiny.CONFIG | {"vision_cfg": tiny.CONFIG["vision_cfg"] | {"layers": 4, "head_width": 16}}
    return build_tower(model, spec).eval().requires_grad_(False)


def _attended(block: torch.nn.Module, x: Tensor, by_value: bool) -> Tensor:
    """One image (n, C), head by head."""
    attention = block.attn
    query, key, value = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    if by_value:
        query = key = value
    width = x.shape[1] // attention.num_heads
    parts = []
    for head in range(attention.num_heads):
        at = slice(head * width, (head + 1) * width)
        parts.append((query[:, at] @ key[:, at].T / width**0.5).softmax(dim=1) @ value[:, at])
    found: Tensor = attention.out_proj(torch.cat(parts, dim=1))
    return found


@pytest.mark.parametrize(("local_from", "layers"), [(1, (4,)), (3, (3, 4)), (1, (1, 2, 4))])
def test_two_streams_equal_a_loop_over_images_blocks_and_heads(local_from: int, layers: tuple[int, ...]) -> None:
    spec = replace(SPEC, local_from=local_from, layers=layers)
    clip, images = _clip(spec), tiny.images(2)
    visual = clip.visual
    features = image_features(clip, spec, images)
    for place in range(2):
        patches = visual.conv1(images[place : place + 1]).flatten(2)[0].T
        tokens = torch.cat((visual.class_embedding[None], patches)) + visual.positional_embedding
        plain = local = visual.ln_pre(tokens)
        found = []
        for number, block in enumerate(visual.transformer.resblocks, start=1):
            seen = block.ln_1(plain)
            plain = plain + _attended(block, seen, by_value=False)
            plain = plain + block.mlp(block.ln_2(plain))
            local = plain if number < local_from else local + _attended(block, seen, by_value=True)
            if number in layers:
                found.append((visual.ln_post(local) @ visual.proj)[1:])
        torch.testing.assert_close(features.cls[place], plain[0] @ visual.proj, atol=1e-5, rtol=1e-5)
        for layer, expected in zip(features.patches, found, strict=True):
            torch.testing.assert_close(layer[place], expected, atol=1e-5, rtol=1e-5)


def test_plain_features_are_those_of_open_clip() -> None:
    spec = replace(tiny.SPEC, layers=(1, 3, 4))
    clip, images = _clip(spec), tiny.images(2)
    features = image_features(clip, spec, images)
    theirs = clip.visual.forward_intermediates(
        images, indices=[0, 2, 3], normalize_intermediates=False, output_fmt="NLC"
    )
    torch.testing.assert_close(features.cls, theirs["image_features"], atol=1e-5, rtol=1e-5)
    for ours, expected in zip(features.patches, theirs["image_intermediates"], strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_deep_prompts_equal_a_loop_over_blocks() -> None:
    clip = tiny.tower()
    torch.manual_seed(1)
    embeds, deep = torch.randn(2, 9, tiny.WIDTH), [torch.randn(2, 3, tiny.WIDTH)]
    ends = torch.tensor([6, 8])
    found = encode_embeddings(clip, embeds, ends, deep)
    for place in range(2):
        x = embeds[place : place + 1] + clip.positional_embedding[:9]
        for number, block in enumerate(clip.transformer.resblocks):
            if number == 1:
                x = x.clone()
                x[0, 1:4] = deep[0][place]
            x = block(x, attn_mask=torch.full((9, 9), -torch.inf).triu(1))
        expected = clip.ln_final(x)[0, ends[place]] @ clip.text_projection
        torch.testing.assert_close(found[place], expected, atol=1e-5, rtol=1e-5)
    assert (encode_embeddings(clip, embeds, ends) - found).abs().max() > 1e-3


def test_a_grid_of_another_size_is_enlarged_bilinearly_without_antialias() -> None:
    state = tiny.tower().state_dict()
    spec = replace(SPEC, image_size=63, position_resize="bilinear")
    table = tower_from_state(tiny.CONFIG, spec, state).visual.positional_embedding
    old = state["visual.positional_embedding"]
    grid = old[1:].reshape(4, 4, -1).permute(2, 0, 1)[None]
    expected = interpolate(grid, size=(9, 9), mode="bilinear", align_corners=False, antialias=False)
    assert torch.equal(table[0], old[0])
    torch.testing.assert_close(table[1:], expected[0].permute(1, 2, 0).reshape(81, -1))
