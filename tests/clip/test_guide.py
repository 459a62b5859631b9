"""Tokens guided by another backbone's features, against a loop over places and heads (METHODS D.2)."""

from dataclasses import replace

import pytest
import torch

from medzsad.clip.guide import Guide, resized
from medzsad.clip.tower import Tower
from medzsad.errors import ConfigError
from tests import tiny
from tests.methods import worded


def test_guided_tokens_equal_a_loop_over_images_places_and_heads() -> None:
    tower, images = worded.tower("crane"), tiny.images(2)
    visual = tower.clip.visual
    features = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    found = tower.features(images, Guide(features))
    plain = tower.features(images)
    for place in range(2):
        x = visual._embeds(images[place : place + 1])
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        block = visual.transformer.resblocks[-1]
        seen = block.ln_1(x)
        between = x + block.attn(seen, seen, seen)[0]
        seen = block.ln_1(between)[0, 1:]
        width = seen.shape[1]
        values = seen @ block.attn.in_proj_weight[2 * width :].T + block.attn.in_proj_bias[2 * width :]
        flat = features[place].flatten(1).T
        flat = flat / flat.norm(dim=1, keepdim=True)
        alike = flat @ flat.T
        rows = []
        for row in 3 * (alike - 1.2 * alike.mean()):
            weights = torch.where(row < 0, torch.zeros(()), row.exp())
            rows.append(block.attn.out_proj(weights / weights.sum() @ values))
        expected = visual.ln_post(torch.stack(rows)) @ visual.proj
        torch.testing.assert_close(found.patches[0][place], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.patches[1][place], plain.patches[0][place], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.cls, plain.cls)


def test_another_grid_of_the_guide_becomes_that_of_all_patches() -> None:
    tower = worded.tower("crane")
    found = tower.features(tiny.images(1), Guide(torch.randn(1, 6, 5, 7, generator=torch.Generator().manual_seed(1))))
    assert found.grid == (5, 7)
    assert [layer.shape for layer in found.patches] == [(1, 35, tiny.WIDTH)] * 2
    tokens = torch.arange(12.0).reshape(1, 12, 1)
    assert resized(tokens, (3, 4), (3, 4)) is tokens
    assert resized(tokens, (3, 4), (6, 4))[0, 5, 0] == pytest.approx(1 + 0.25 * 4)


def test_the_mean_of_an_image_or_of_its_batch_says_what_is_alike() -> None:
    features = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(2))
    features[1] += 0.7
    alone = torch.cat([Guide(features[place : place + 1]).weights() for place in range(2)])
    torch.testing.assert_close(Guide(features).weights(), alone)
    assert (Guide(features, mean_of_batch=True).weights() - alone).abs().max() > 1e-3
    torch.testing.assert_close(alone.sum(dim=2), torch.ones(2, 9))
    assert (Guide(features, threshold=1.08).weights() - alone).abs().max() > 1e-3


def test_a_place_of_an_image_without_any_difference_sees_itself_whatever_stands_beside() -> None:
    features = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(3))
    features[1] = 1
    weights = Guide(features).weights()
    assert torch.equal(weights[1], torch.eye(9))
    torch.testing.assert_close(weights[0], Guide(features[:1]).weights()[0])


def test_a_tower_without_local_attention_takes_no_guide() -> None:
    tower = worded.tower("crane")
    plain = Tower(tower.clip, replace(tower.spec, attention="plain"))
    with pytest.raises(ConfigError, match="can be guided"):
        plain.features(tiny.images(1), Guide(torch.randn(1, 6, 4, 4)))
