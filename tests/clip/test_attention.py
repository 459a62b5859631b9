"""Fused attention is that of PyTorch's module, under the same names, without its copies of the weights."""

import pytest
import torch
from torch import nn

from medzsad.clip.attention import FusedAttention
from tests import tiny


@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_the_module_whose_parameters_it_has(causal: bool) -> None:
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(24, 3, batch_first=True).eval()
    nn.init.normal_(whole.in_proj_bias)
    fused, x = FusedAttention(whole), torch.randn(4, 7, 24)
    mask = torch.full((7, 7), -torch.inf).triu(1) if causal else None
    with torch.no_grad():
        expected, _ = whole(x, x, x, need_weights=False, attn_mask=mask)
        assert torch.allclose(fused(x, x, x, attn_mask=mask)[0], expected, atol=1e-6)
    assert fused.state_dict().keys() == whole.state_dict().keys()
    assert fused.in_proj_weight is whole.in_proj_weight


def test_it_gives_no_weights_and_looks_at_nothing_else() -> None:
    fused, x = FusedAttention(nn.MultiheadAttention(8, 1, batch_first=True)), torch.zeros(1, 2, 8)
    with pytest.raises(ValueError, match="self-attention"):
        fused(x, x + 1, x)
    with pytest.raises(ValueError, match="no weights"):
        fused(x, x, x, need_weights=True)


def test_all_blocks_of_a_tower_have_it() -> None:
    kinds = [type(module) for module in tiny.tower().modules()]
    assert kinds.count(FusedAttention) == tiny.CONFIG["vision_cfg"]["layers"] + tiny.CONFIG["text_cfg"]["layers"]
    assert nn.MultiheadAttention not in kinds
