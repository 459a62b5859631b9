"""The hybrid vision tower: grids, position sizes, and its place in a CLIP model."""

import pytest
import torch

from medzsad.clip.hybrid import HybridVision, ResidualConvolutions
from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import build_tower, tower_from_state
from medzsad.clip.vision import image_features, patch_width
from medzsad.errors import WeightsError

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"kind": "hybrid", "width": 32, "layers": 2, "head_width": 16, "decoder_width": 24},
    "text_cfg": {"context_length": 20, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1},
}


def _images(count: int, side: int) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.fixture
def vision() -> HybridVision:
    torch.manual_seed(0)
    return HybridVision(embed_dim=16, image_size=64, width=32, layers=2, head_width=16, decoder_width=24).eval()


@torch.no_grad()
def test_patch_tokens_are_the_quarters_of_the_picture(vision: HybridVision) -> None:
    cls, patches = vision.features(_images(2, 64), (1, 2, 3))
    assert cls.shape == (2, 16)
    assert [tuple(tokens.shape) for tokens in patches] == [(2, 16 * 16, 24)] * 3
    assert vision.grid_size == (16, 16)


@torch.no_grad()
@pytest.mark.parametrize("side", [48, 96])
def test_the_position_grid_follows_the_size_of_the_picture(vision: HybridVision, side: int) -> None:
    _, patches = vision.features(_images(1, side), (3,))
    assert patches[0].shape[1] == (side // 4) ** 2


@torch.no_grad()
def test_a_picture_is_described_alike_in_any_batch(vision: HybridVision) -> None:
    images = _images(3, 64)
    together = vision.features(images, (1, 2, 3))
    alone = vision.features(images[1:2], (1, 2, 3))
    assert torch.allclose(together[0][1], alone[0][0], atol=1e-5)
    for one, other in zip(together[1], alone[1], strict=True):
        assert torch.allclose(one[1], other[0], atol=1e-4)


@torch.no_grad()
def test_tokens_lie_where_the_picture_has_them(vision: HybridVision) -> None:
    images = _images(1, 64)
    changed = images.clone()
    changed[..., 44:48, 12:16] += 3  # row 11, column 3 of the quarters
    before, after = (vision.features(x, (3,))[1][0][0].reshape(16, 16, -1) for x in (images, changed))
    difference = (after - before).norm(dim=-1)
    row, column = divmod(int(difference.argmax()), 16)
    assert abs(row - 11) <= 1
    assert abs(column - 3) <= 1


def test_the_class_token_learns_from_every_cell(vision: HybridVision) -> None:
    images = _images(1, 64).requires_grad_()
    vision(images).sum().backward()
    assert images.grad is not None
    cells = images.grad.abs().reshape(1, 3, 4, 16, 4, 16).amax(dim=(1, 3, 5))
    assert bool((cells > 0).all())


def test_residual_convolutions_start_as_the_identity() -> None:
    x = _images(1, 8)
    assert torch.equal(ResidualConvolutions(3)(x), x)


def test_a_clip_model_holds_it_and_gives_its_weights_back() -> None:
    torch.manual_seed(1)
    spec = TowerSpec(image_size=64, layers=(1, 2))
    first = build_tower(CONFIG, spec).eval()
    again = tower_from_state(CONFIG, spec, dict(first.state_dict()))
    assert patch_width(again, spec) == 24
    images = _images(2, 64)
    with torch.no_grad():
        one, other = image_features(first, spec, images), image_features(again, spec, images)
        assert torch.equal(one.cls, other.cls)
        assert torch.equal(first.encode_image(images), one.cls)
    assert other.grid == (16, 16)


def test_its_positions_are_resized_to_another_picture_size() -> None:
    state = build_tower(CONFIG, TowerSpec(image_size=64, layers=(2,))).state_dict()
    larger = tower_from_state(CONFIG, TowerSpec(image_size=96, layers=(2,)), dict(state))
    assert larger.visual.positional_embedding.shape == (1 + 6 * 6, 32)


def test_a_tap_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(WeightsError, match="Layer 4"):
        build_tower(CONFIG, TowerSpec(image_size=64, layers=(1, 4)))


def test_a_picture_size_between_its_cells_is_refused() -> None:
    with pytest.raises(WeightsError, match="not a multiple"):
        build_tower(CONFIG, TowerSpec(image_size=72, layers=(1, 2)))


@torch.no_grad()
def test_the_class_token_holds_what_a_query_finds_in_one_place(vision: HybridVision) -> None:
    token = torch.randn(24, generator=torch.Generator().manual_seed(5))
    tokens = torch.randn(1, 256, 24, generator=torch.Generator().manual_seed(6))
    tokens[0, 77] = token
    vision.queries.copy_(10 * token.expand(4, -1))
    assert torch.allclose(vision._found(tokens)[0], (token @ vision.queries_proj).sum(dim=0), atol=1e-4)
    vision.queries_proj.zero_()
    assert not vision._found(tokens).any()


@torch.no_grad()
def test_projected_tokens_are_the_raw_ones_times_the_map_of_their_tap(vision: HybridVision) -> None:
    torch.nn.init.normal_(vision.to_joint)
    raw, projected = (vision.features(_images(1, 64), (1, 3), projected=flag)[1] for flag in (False, True))
    for tap, before, after in zip((1, 3), raw, projected, strict=True):
        assert after.shape == (1, 256, 16)
        assert torch.allclose(after, before @ vision.to_joint[tap - 1], atol=1e-5)


def test_a_spec_may_ask_for_projected_tokens_of_joint_width() -> None:
    spec = TowerSpec(image_size=64, layers=(3,), patch_post="projected")
    clip = build_tower(CONFIG, spec).eval()
    assert patch_width(clip, spec) == 16
    assert image_features(clip, spec, _images(1, 64)).patches[0].shape == (1, 256, 16)
