"""Where and how the model runs."""

import logging
from types import SimpleNamespace

import pytest
import torch

from medzsad.errors import ConfigError
from medzsad.scoring.device import autocast, batch_that_fits, resolve_device, resolve_precision


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


@pytest.mark.parametrize(("present", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_it_is_in_hardware(
    monkeypatch: pytest.MonkeyPatch, present: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: present)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: present)
    assert resolve_precision("auto", torch.device("cuda")) == expected
    assert resolve_precision("float32", torch.device("cuda")) == "float32"
    assert resolve_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_batches_fill_no_more_than_a_part_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(available=64 * 1024**3)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert batch_that_fits(518, torch.device("cpu")) == 8
    free.available = 2 * 1024**3
    few = batch_that_fits(518, torch.device("cpu"))
    assert 1 < few < 8
    free.available = 0
    assert batch_that_fits(518, torch.device("cpu")) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * 1024**3, 80 * 1024**3))
    assert batch_that_fits(518, torch.device("cuda")) > 8
