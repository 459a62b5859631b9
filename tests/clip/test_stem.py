"""The convolutional stem: timm's network up to its widened features, without normalization layers."""

import pytest
import timm
import torch
from torch import Tensor, nn

from medzsad.clip.stem import NETWORK, WIDTHS, LiteStem, fresh_stem
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = timm.create_model(NETWORK, pretrained=False)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # numbers that a training would leave
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return made.eval()


@torch.no_grad()
def test_features_are_those_of_the_network_with_its_normalizations(network: nn.Module) -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    seen: dict[int, Tensor] = {}
    hooks = [
        network.blocks[n][0].bn1.register_forward_hook(lambda _m, _i, out, n=n: seen.__setitem__(n, out.clone()))
        for n in (2, 3, 5)
    ]
    network(2 * pictures - 1)
    for hook in hooks:
        hook.remove()
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    copy = timm.create_model(NETWORK, pretrained=False)
    copy.load_state_dict(state)
    found = LiteStem(copy)((pictures - mean) / std)
    for ours, theirs in zip(found, seen.values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))


@torch.no_grad()
def test_features_lie_at_a_quarter_an_eighth_and_a_sixteenth() -> None:
    shapes = [tuple(x.shape[1:]) for x in fresh_stem()(torch.zeros(1, 3, 96, 96))]
    assert shapes == [(WIDTHS[0], 24, 24), (WIDTHS[1], 12, 12), (WIDTHS[2], 6, 6)]


def test_no_normalization_is_left() -> None:
    assert not [m for m in fresh_stem().modules() if isinstance(m, nn.BatchNorm2d)]


@torch.no_grad()
def test_a_stem_that_was_built_without_storage_works_once_it_has_its_weights() -> None:
    stored = fresh_stem()
    with torch.device("meta"):
        empty = fresh_stem()
    empty.load_state_dict(stored.state_dict(), assign=True)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    for one, other in zip(stored(images), empty(images), strict=True):
        assert torch.equal(one, other)
