"""Where and how the model runs."""

import logging

import pytest
import torch

from medzsad.errors import ConfigError
from medzsad.scoring.device import autocast, resolve_device


def test_auto_is_cuda_where_there_is_one_else_the_cpu() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_an_absent_device_is_replaced_by_the_cpu_and_that_is_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="medzsad"):
        assert resolve_device(name) == torch.device("cpu")
    assert name in caplog.text


@pytest.mark.parametrize("name", ["toaster", "meta", "cuda:x"])
def test_what_is_no_device_is_a_usage_error(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        resolve_device(name)


def test_bfloat16_rounds_matrix_products_and_float32_does_not() -> None:
    a = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    with autocast(torch.device("cpu"), "bfloat16"):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "float32"):
        assert (a @ a).dtype == torch.float32
