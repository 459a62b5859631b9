"""Tiny random towers, prompts and authors' files, for tests."""

from typing import Any

import open_clip
import torch
from torch import Tensor

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import Tower, build_tower
from medzsad.methods.bayes_pfl.method import METHOD
from medzsad.methods.bayes_pfl.model import BayesPFL
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.weights.card import WeightsCard

WIDTH, VISION_WIDTH, HIDDEN = 64, 32, 12
SPEC = TowerSpec(image_size=28, layers=(1, 3))
CONFIG: dict[str, Any] = {
    "embed_dim": WIDTH,
    "vision_cfg": {"layers": 3, "width": VISION_WIDTH, "head_width": VISION_WIDTH, "patch_size": 7},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 1, "layers": 2},
}


def tower(spec: TowerSpec = SPEC, seed: int = 0) -> open_clip.CLIP:
    """A frozen random tower whose layers say something different for different inputs."""
    torch.manual_seed(seed)
    clip = build_tower(CONFIG, spec)
    with torch.no_grad():
        clip.token_embedding.weight.mul_(20)
        clip.visual.positional_embedding.mul_(3)
    return clip.eval().requires_grad_(False)


def prompts(seed: int = 0, layer_count: int = 2) -> BayesPFL:
    """Random prompts, no tensor zero or constant."""
    torch.manual_seed(seed)
    module = BayesPFL(
        width=WIDTH,
        vision_width=VISION_WIDTH,
        hidden=HIDDEN,
        layer_count=layer_count,
        bank=2,
        context_tokens=3,
        state_tokens=2,
        flows=4,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def card(samples: int = 4, stage: int = 2, **fields: Any) -> WeightsCard:
    """Weights with nothing special about them."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "spec": SPEC,
        "clip_name": "tiny",
        "threshold": 0.5,
        "threshold_provenance": "test",
        "license": "MIT",
        "source": "tests",
        "class_name": "object",
        "samples": samples,
        "description": "tiny",
        "options": {"stage": stage},
    }
    return WeightsCard(**(plain | fields))


def detector(samples: int = 4, stage: int = 2) -> Detector:
    """A detector with random weights."""
    return Detector(Tower(tower(), SPEC), prompts(), METHOD, card(samples, stage)).frozen()


def draws(images: int, samples: int, seed: int = 0) -> dict[str, Tensor]:
    """What Bayes-PFL draws for images."""
    return SharedNoise(seed).draw(images, prompts().draw_shapes(samples), BayesPFL.shared_draws)


def images(count: int, seed: int = 5) -> Tensor:
    """Random images, each of its own brightness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, SPEC.image_size, SPEC.image_size, generator=generator)
    return noise + torch.arange(count).reshape(-1, 1, 1, 1)


def official_state(
    *,
    width: int = 16,
    vision_width: int = 24,
    hidden: int = 6,
    layers: int = 4,
    bank: int = 3,
    context: int = 5,
    state: int = 5,
    flows: int = 10,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """A state dict of the authors' structure with random numbers; aliases share memory, as in their files."""
    torch.manual_seed(1)

    def new(*shape: int) -> Tensor:
        return torch.randn(shape, device=device)

    def linear(key: str, inputs: int, outputs: int, *extra: int) -> dict[str, Tensor]:
        return {f"{key}.weight": new(outputs, inputs, *extra), f"{key}.bias": new(outputs)}

    def mlp(key: str) -> dict[str, Tensor]:
        return (
            linear(f"{key}.module.0", width, hidden)
            | linear(f"{key}.module.2", hidden, hidden)
            | linear(f"{key}.module.4", hidden, width)
        )

    found = {"prompt_context": new(bank, context, width), "temperature_pixel": new(), "temperature_image": new()}
    found |= {f"prompt_state_{kind}": new(bank, state, width) for kind in ("normal", "abnormal")}
    for owner in ("context", "state"):
        found |= mlp(f"{owner}_encoder.weight_mean") | mlp(f"{owner}_encoder.weight_log_variance")
        found |= mlp(f"{owner}_decoder.weight_mean")
    for flow, owner in (("context", "context"), ("normal", "state"), ("abnormal", "state")):
        copies = {
            key: value for key, value in found.items() if key.startswith((f"{owner}_encoder", f"{owner}_decoder"))
        }
        found |= {f"PFL_{flow}.{key.removeprefix(owner + '_')}": value for key, value in copies.items()}
        found |= linear(f"PFL_{flow}.p_mu.0", width, width)
    for name, size in (("u", flows * width), ("w", flows * width), ("b", flows)):
        found |= linear(f"PFL_context.amor_{name}", width, size)
    for kind in ("normal", "abnormal"):
        found |= {
            f"PFL_{kind}.amor_u": new(1, flows, width, 1),
            f"PFL_{kind}.amor_w": new(1, flows, 1, width),
            f"PFL_{kind}.amor_b": new(1, flows, 1, 1),
            f"PFL_{kind}.state": new(1, width),
        }
    found |= linear("fuse.fuse_modules", layers * vision_width, hidden) | linear("fuse.compress", hidden, 1)
    found |= linear("fuse.post_process", hidden, width) | linear("RCA.q_proj_pre", width, width, 1)
    found |= {f"RCA.linear_proj.{layer}.weight": new(width, vision_width) for layer in range(layers)}
    return found | linear("class_mapping", width, width) | linear("image_mapping", width, width)
