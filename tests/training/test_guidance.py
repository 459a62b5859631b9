"""Gradients guided by a second loss."""

import torch
from torch import nn

from medzsad.training.guidance import GuideGradients, guided


def test_a_gradient_against_the_guide_loses_that_part() -> None:
    task, guide = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 4.0])
    assert guided(task, guide, 1.0).tolist() == [1.0, 0.0]
    assert guided(task, guide, 0.5).tolist() == [1.0, -1.0]
    assert guided(task, guide, 2.0).tolist() == [1.0, 2.0]
    assert guided(task, guide, 0.0).tolist() == [1.0, -2.0]


def test_a_gradient_that_agrees_stays() -> None:
    task = torch.tensor([1.0, 2.0])
    assert torch.equal(guided(task, torch.tensor([0.0, 4.0]), 1.0), task)
    assert torch.equal(guided(task, torch.zeros(2), 1.0), task)


def test_gradients_of_parts_of_a_batch_add_up_and_are_guided_parameter_by_parameter() -> None:
    first, second = nn.Parameter(torch.tensor([1.0, 1.0])), nn.Parameter(torch.tensor([3.0]))
    unused = nn.Parameter(torch.zeros(1))
    guide = GuideGradients([first, second, unused], 1.0)
    for share in (0.25, 0.75):
        loss = share * (first[0] - first[1] + second.sum())
        guide.add(share * (2 * first[1] + 5 * second.sum()))
        loss.backward()  # type: ignore[no-untyped-call]
    guide.apply(lambda summed: summed)
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.tolist() == [1.0, 0.0]
    assert second.grad.tolist() == [1.0]
    assert unused.grad is None
