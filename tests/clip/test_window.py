"""Patches of the second stream that see their neighbors only."""

from dataclasses import replace

import pytest
import torch

from medzsad.clip.attention import window_mask
from medzsad.clip.tower import build_tower
from medzsad.clip.vision import image_features
from medzsad.errors import ConfigError
from medzsad.weights.card import card_from_json
from tests import tiny

SPEC = replace(tiny.SPEC, attention="vv", layers=(4,), local_from=4, activation="quick_gelu")
MODEL = tiny.CONFIG | {"vision_cfg": tiny.CONFIG["vision_cfg"] | {"layers": 4, "head_width": 16}}


def test_a_patch_sees_the_square_around_it_and_not_the_class_token() -> None:
    seen = window_mask((4, 5), 3)
    assert seen.shape == (21, 21)
    assert seen[0].all()
    assert not seen[1:, 0].any()
    for row in range(4):
        for column in range(5):
            near = seen[1 + row * 5 + column, 1:].reshape(4, 5)
            expected = torch.zeros(4, 5, dtype=torch.bool)
            expected[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
            assert torch.equal(near, expected)


def _reach(window: int, blocks: int) -> torch.Tensor:
    """(4, 4) how much a patch in the corner changes the local features of the last block in one step."""
    torch.manual_seed(3)
    clip = build_tower(MODEL, replace(SPEC, window=window, window_blocks=blocks)).eval().requires_grad_(False)
    values = clip.visual.transformer.resblocks[3].attn
    x = torch.randn(1, 17, tiny.VISION_WIDTH)
    other = x.clone()
    other[0, 1] += 1
    mask = window_mask((4, 4), window) if window else None
    found = [values.two_streams(one, "vv", mask)[1] for one in (x, other)]
    return (found[0] - found[1])[0, 1:].abs().amax(dim=-1).reshape(4, 4)


def test_nothing_reaches_beyond_the_window_in_one_block() -> None:
    free, near = _reach(0, 4), _reach(3, 4)
    assert (free > 1e-6).all()
    assert (near[:2, :2] > 1e-6).all()
    assert (near[2:].max(), near[:, 2:].max()) == (0, 0)


def test_the_window_counts_in_the_last_blocks_of_the_second_stream_alone() -> None:
    torch.manual_seed(3)
    clip = build_tower(MODEL, SPEC).eval().requires_grad_(False)
    spec, images = replace(SPEC, local_from=2), tiny.images(2)
    plain = image_features(clip, spec, images)
    found = {
        blocks: image_features(clip, replace(spec, window=1, window_blocks=blocks), images) for blocks in (1, 2, 9)
    }
    assert all(torch.equal(one.cls, plain.cls) for one in found.values())
    maps = [plain.patches[0], *(one.patches[0] for one in found.values())]
    for number, one in enumerate(maps):
        assert all(not torch.allclose(one, other) for other in maps[:number])


@pytest.mark.parametrize(
    "wrong", [{"window": 4}, {"window": 3, "window_blocks": 0}, {"window": 3, "attention": "plain"}]
)
def test_windows_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="odd number of patches"):
        replace(SPEC, **wrong)  # type: ignore[arg-type]


def test_a_card_without_a_window_says_nothing_of_it() -> None:
    assert "window" not in tiny.card(spec=SPEC).to_json()
    windowed = tiny.card(spec=replace(SPEC, window=5))
    assert card_from_json(windowed.to_json()).spec.window == 5
