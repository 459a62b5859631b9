import dataclasses
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

from medzsad.clip.positions import resize_positions
from medzsad.clip.tower import build_tower, infer_model_config
from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.weights.tower import load_tower
from tests import tiny

_PATTERNS = ["plain", "module.", "text."]


def _assert_same(found: Any, state: dict[str, Tensor], tolerance: float = 0) -> None:
    assert not any(p.requires_grad for p in found.parameters())
    for name, value in found.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[name].float(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("prefix", _PATTERNS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_state_dicts_load_under_every_prefix(tmp_path: Path, prefix: str, suffix: str) -> None:
    state = tiny.tower().state_dict()
    named = {_prefixed(name, prefix): value.clone() for name, value in state.items()}
    path = tmp_path / f"tower{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": named}, path)
    else:
        save_file(named, path)
    clip, sha256 = load_tower(path, tiny.SPEC)
    assert sha256 == file_sha256(path)
    assert not clip.training
    _assert_same(clip, state)
    images = tiny.images(1)
    torch.testing.assert_close(clip.encode_image(images), tiny.tower().encode_image(images))
    torch.testing.assert_close(clip.attn_mask, tiny.tower().attn_mask)


def _prefixed(name: str, prefix: str) -> str:
    if prefix == "plain" or (prefix == "text." and name.startswith(("visual.", "logit_scale"))):
        return name
    return prefix + name


class _Archive(nn.Module):
    """Modules nested so that the state dict has the names of a CLIP tower."""

    def __init__(self) -> None:
        super().__init__()
        self.input_resolution = nn.Parameter(torch.tensor(28.0))

    def forward(self, x: Tensor) -> Tensor:
        return x


def _openai_archive(state: dict[str, Tensor], path: Path) -> None:
    root = _Archive()
    for name, value in state.items():
        module: nn.Module = root
        *parts, leaf = name.split(".")
        for part in parts:
            if not hasattr(module, part):
                module.add_module(part, _Archive())
                del module.get_submodule(part).input_resolution
            module = module.get_submodule(part)
        module.register_parameter(leaf, nn.Parameter(value.half()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)  # as OpenAI made theirs
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        torch.jit.trace(root, torch.zeros(1)).save(path)


def test_archive_of_openai_loads_as_float32(tmp_path: Path) -> None:
    state = tiny.tower().state_dict()
    path = tmp_path / "ViT.pt"
    _openai_archive(state, path)
    clip, _ = load_tower(path, tiny.SPEC)
    _assert_same(clip, {name: value.half() for name, value in state.items()})


@pytest.mark.parametrize("how", ["bicubic_antialias", "bicubic", "bilinear"])
def test_position_grid_is_resized_as_the_spec_says(tmp_path: Path, how: Any) -> None:
    state = tiny.tower().state_dict()
    path = tmp_path / "tower.safetensors"
    save_file(state, path)
    spec = dataclasses.replace(tiny.SPEC, image_size=49, position_resize=how)
    table = load_tower(path, spec)[0].visual.positional_embedding
    old = state["visual.positional_embedding"]
    grid = old[1:].T.reshape(1, -1, 4, 4)
    mode = "bilinear" if how == "bilinear" else "bicubic"
    expected = interpolate(grid, size=(7, 7), mode=mode, align_corners=False, antialias=how == "bicubic_antialias")
    torch.testing.assert_close(table[0], old[0])
    torch.testing.assert_close(table[1:], expected.reshape(-1, 49).T)


def test_the_ways_to_resize_differ() -> None:
    table = torch.randn(17, 5)
    tables = [resize_positions(table, 7, how) for how in ("bicubic_antialias", "bicubic", "bilinear")]
    assert (tables[0] - tables[1]).abs().max() > 1e-2
    assert (tables[1] - tables[2]).abs().max() > 1e-2


def test_activation_is_that_of_the_spec() -> None:
    exact = build_tower(tiny.CONFIG, tiny.SPEC).visual.transformer.resblocks[0].mlp.gelu
    quick = build_tower(tiny.CONFIG, dataclasses.replace(tiny.SPEC, activation="quick_gelu"))
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(exact(x), gelu(x))
    for blocks in (quick.visual.transformer.resblocks, quick.transformer.resblocks):
        torch.testing.assert_close(blocks[0].mlp.gelu(x), x * torch.sigmoid(1.702 * x))


def test_sizes_are_read_off_the_weights() -> None:
    with torch.device("meta"):
        config = {
            "embed_dim": 96,
            "vision_cfg": {"layers": 2, "width": 1408, "head_width": 88, "mlp_ratio": 4.3637, "patch_size": 14},
            "text_cfg": {"width": 128, "heads": 2, "layers": 3},
        }
        clip = build_tower(config, dataclasses.replace(tiny.SPEC, layers=(1, 2)))
        found = infer_model_config(clip.state_dict())
        again = build_tower(found, dataclasses.replace(tiny.SPEC, layers=(1, 2)))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in clip.state_dict().items()}
    assert found["vision_cfg"]["head_width"] == 88
    assert found["text_cfg"]["heads"] == 2


def test_loading_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "tower.safetensors"
    save_file(tiny.tower().state_dict(), path)
    load_tower(path, tiny.SPEC)
    with pytest.raises(WeightsError, match="medzsad weights fetch ViT-L-14-336"):
        load_tower("ViT-L-14-336", tiny.SPEC)
    with pytest.raises(WeightsError, match="MODEL/TAG"):
        load_tower("ViT-B-32/laion2b_s34b_b79k", tiny.SPEC)


def test_a_tower_in_the_cache_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    path = tmp_path / "ViT-L-14-336px.pt"
    torch.save(tiny.tower().state_dict(), path)
    for name in ("ViT-L-14-336", "ViT-L-14-336/openai"):
        assert load_tower(name, tiny.SPEC)[1] == file_sha256(path)


def _damaged(state: dict[str, Tensor], how: str) -> dict[str, Any]:
    if how == "missing":
        state.pop("ln_final.bias")
    if how == "unknown":
        state["visual.adapter"] = torch.zeros(3)
    if how == "shape":
        state["visual.proj"] = torch.zeros(3, tiny.WIDTH)
    if how == "infinite":
        state["visual.proj"] = state["visual.proj"].clone()
        state["visual.proj"][1, 2] = torch.inf
    if how == "grid":
        state["visual.positional_embedding"] = torch.zeros(12, tiny.VISION_WIDTH)
    if how == "prompts":
        return {"MyModel": {"prompt_context": torch.zeros(1)}}
    return state


@pytest.mark.parametrize("how", ["missing", "unknown", "shape", "grid", "infinite", "prompts"])
def test_what_is_no_fitting_tower_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "tower.pt"
    torch.save(_damaged(dict(tiny.tower().state_dict()), how), path)
    with pytest.raises(WeightsError):
        load_tower(path, tiny.SPEC, tiny.CONFIG if how != "prompts" else None)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"tower{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="tower"):
        load_tower(path, tiny.SPEC)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pt"):
        load_tower(Path("nowhere.pt"), tiny.SPEC)


def test_towers_of_another_kind_are_refused() -> None:
    vision, text = tiny.CONFIG["vision_cfg"], tiny.CONFIG["text_cfg"]
    for change in (
        {"vision_cfg": vision | {"layers": [1, 2, 3, 4]}},
        {"vision_cfg": vision | {"timm_model_name": "vit"}},
        {"text_cfg": text | {"no_causal_mask": True}},
        {"vision_cfg": vision | {"patch_size": 5}},
        {"vision_cfg": vision | {"layers": 2}},
    ):
        with pytest.raises(WeightsError):
            build_tower(tiny.CONFIG | change, tiny.SPEC)
