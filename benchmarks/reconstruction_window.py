"""Attention in a window, in a small random vision transformer: how far a change reaches, and what maps gain by it."""

from dataclasses import replace
from typing import Any

import open_clip
import torch
from reconstruction_claims import Claim, Figures
from reconstruction_noise import map_auroc, scenes
from reconstruction_scenes import GRID, SIDE, Encoder, Scorer
from torch import Tensor

from medzsad.clip.attention import window_mask
from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import build_tower
from medzsad.clip.vision import image_features

WINDOW = 5
_LAYERS = 6
_WIDTH = 48
_CONFIG: dict[str, Any] = {
    "embed_dim": _WIDTH,
    "vision_cfg": {"layers": _LAYERS, "width": _WIDTH, "head_width": 16, "patch_size": SIDE // GRID},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}
_VALUES = TowerSpec(
    image_size=SIDE,
    layers=(_LAYERS,),
    activation="quick_gelu",
    attention="vv",
    local_from=2,
    patch_post="projected",
)
# Values attending to values within a window and everywhere, and the ordinary stream of queries and keys.
_SPECS = {
    "window": replace(_VALUES, window=WINDOW),
    "values": _VALUES,
    "queries and keys": replace(_VALUES, attention="plain"),
}


def random_tower(seed: int) -> open_clip.CLIP:
    """A frozen random tower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = build_tower(_CONFIG, _VALUES)
    return clip.eval().requires_grad_(False)


def reach(clip: open_clip.CLIP, seed: int) -> Figures:
    """How much a change of one patch changes what lies beyond the window around it at most, after one layer.

    The change is not the same in all channels: a norm would take that away.
    """
    source = torch.Generator().manual_seed(seed)
    before = torch.randn(1, 1 + GRID**2, _WIDTH, generator=source)
    after = before.clone()
    row, column = (int(value) for value in torch.randint(GRID, (2,), generator=source))
    after[0, 1 + row * GRID + column] += torch.randn(_WIDTH, generator=source)
    places = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID))
    beyond = (places - torch.tensor((row, column))).abs().amax(dim=1) > WINDOW // 2
    block = clip.visual.transformer.resblocks[-1]
    found: Figures = {}
    for name, seen in (("with window", window_mask((GRID, GRID), WINDOW)), ("without window", None)):
        streams = [block.attn.two_streams(block.ln_1(tokens), "vv", seen)[1] for tokens in (before, after)]
        change = (streams[1] - streams[0])[0, 1:].abs().amax(dim=-1)
        found[f"beyond: {name}"] = float(change[beyond].max())
        found[f"within: {name}"] = float(change[~beyond].max())
    return found


def encoder(clip: open_clip.CLIP, spec: TowerSpec) -> Encoder:
    """Gives the patch features that a spec reads from a tower."""

    def encode(images: Tensor) -> Tensor:
        with torch.no_grad():
            return image_features(clip, spec, 4 * (images - 0.5)).patches[0]

    return encode


def measure(seed: int, steps: int, test: int) -> Figures:
    """The reach, and the AUROC of maps learned from noise on the object, for each kind of attention."""
    clip = random_tower(seed)
    found = reach(clip, seed)
    sound, scored = scenes(seed, test)
    for name, spec in _SPECS.items():
        source = torch.Generator().manual_seed(seed + 1)
        maps = Scorer(encoder(clip, spec), sound, anywhere=False, steps=steps, source=source).maps(scored)
        found[f"map: {name}"] = map_auroc(maps, scored)
    return found


def claims() -> list[Claim]:
    """What is claimed of the window."""
    return [
        Claim(
            "Nothing reaches beyond a window of 5 x 5 in one layer",
            {"beyond: with window": "largest change beyond", "beyond: without window": "without window"},
            "zero",
        ),
        Claim(
            "Attention in a window localizes better than values with values",
            {"map: window": "window", "map: values": "v-v"},
        ),
        Claim(
            "Attention in a window localizes better than queries with keys",
            {"map: window": "window", "map: queries and keys": "q-k"},
        ),
    ]
