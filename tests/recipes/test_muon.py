"""The recipe's Muon takes the steps of torch's, but for the rounding of bfloat16."""

import pytest
import torch
from torch import nn

from recipes.medzsad_mini.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_steps_are_those_of_torch_up_to_bfloat16(shape: tuple[int, int]) -> None:
    source = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(shape, generator=source))
    theirs = nn.Parameter(ours.detach().clone())
    start = ours.detach().clone()
    mine = Muon([ours], 1e-2, 0.05)
    reference = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(shape, generator=source)
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).detach().norm()
    assert float((ours - theirs).detach().norm() / moved) < 0.03
    assert float(moved) > 0.1


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_orthogonal_matrices_keep_the_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-4, rtol=0)
