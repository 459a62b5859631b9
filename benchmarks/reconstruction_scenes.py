"""Made-up scenes of 56 pixels: a bright object, now and then with a defect, on a dark background with harmless clutter.

A frozen random convolutional encoder sees them; a normal and an abnormal direction are learned from noise alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, normalize, relu

from medzsad.methods.losses import map_losses
from medzsad.methods.prompts import cosine_logits
from medzsad.training.object_noise import object_noise

SIDE = 56
GRID = 14
_CHANNELS = 24
_RATE = 1e-2
_VERSIONS = 8

# Gives features (b, N, D) of images (b, 3, H, W) between 0 and 1.
Encoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and the truth about it.

    Attributes:
        image: (3, H, W) uint8.
        body: (H, W) bool, its object.
        defect: (H, W) bool.
    """

    image: Tensor
    body: Tensor
    defect: Tensor


def _ellipse(center: Tensor, radii: Tensor) -> Tensor:
    """(H, W) bool."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2 < 1


def _smooth(source: torch.Generator) -> Tensor:
    """(H, W) slow changes of brightness, around 0."""
    coarse = torch.randn(1, 1, 6, 6, generator=source)
    return interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=False)[0, 0]


def make_scene(source: torch.Generator, defective: bool) -> Scene:
    """A scene; a defect is a spot of another brightness and grain within the object."""
    center = SIDE / 2 + 5 * (2 * torch.rand(2, generator=source) - 1)
    radii = 13 + 5 * torch.rand(2, generator=source)
    body = _ellipse(center, radii)
    gray = 45 + 8 * _smooth(source) + 5 * torch.randn(SIDE, SIDE, generator=source)
    for _ in range(4):
        spot = _ellipse(SIDE * torch.rand(2, generator=source), 3 + 3 * torch.rand(2, generator=source))
        grain = 35 * torch.randn(SIDE, SIDE, generator=source)
        # Away from the object, so that its outline stays what it is.
        gray = gray + (spot & ~_ellipse(center, radii + 3)) * grain
    inner = 165 + 8 * _smooth(source) + 7 * torch.randn(SIDE, SIDE, generator=source)
    defect = torch.zeros_like(body)
    if defective:
        angle = 6.28 * torch.rand((), generator=source)
        place = center + 0.55 * radii * torch.stack((angle.sin(), angle.cos()))
        defect = _ellipse(place, 3 + 2 * torch.rand(2, generator=source)) & body
        sign = 1 if torch.rand((), generator=source) < 0.5 else -1
        inner = inner + defect * (sign * 20 + 14 * torch.randn(SIDE, SIDE, generator=source))
    gray = torch.where(body, inner, gray).round().clamp(0, 255).to(torch.uint8)
    return Scene(gray.expand(3, -1, -1).contiguous(), body, defect)


def random_encoder(seed: int) -> Encoder:
    """Two random layers of convolutions with pooling, frozen; features are grain and outline at 14 x 14 places."""
    source = torch.Generator().manual_seed(seed)
    first = torch.randn(_CHANNELS, 1, 5, 5, generator=source) / 5
    second = torch.randn(_CHANNELS, _CHANNELS, 3, 3, generator=source) / (3 * _CHANNELS**0.5)

    def encode(images: Tensor) -> Tensor:
        gray = images.mean(dim=1, keepdim=True) - 0.5
        fine = avg_pool2d(relu(conv2d(gray, first, padding=2)), 2)
        coarse = avg_pool2d(relu(conv2d(fine, second, padding=1)), 2)
        return torch.cat((avg_pool2d(fine, 2), coarse), dim=1).flatten(2).transpose(1, 2)

    return encode


def patch_masks(masks: Tensor) -> Tensor:
    """(b, 14, 14) float, 1 where a pixel of masks (b, H, W) is."""
    return max_pool2d(masks.float()[:, None], SIDE // GRID)[:, 0]


class Scorer:
    """Gives maps (b, 14, 14) of images, by a normal and an abnormal direction learned from sound scenes and noise.

    Args:
        encode: Frozen.
        sound: Sound scenes.
        anywhere: Whether the noise leaves the object.
        steps: Of learning.
        source: Of the noise.
    """

    def __init__(
        self, encode: Encoder, sound: list[Scene], anywhere: bool, steps: int, source: torch.Generator
    ) -> None:
        self._encode = encode
        noisy = [object_noise(one.image, source, anywhere=anywhere) for one in sound for _ in range(_VERSIONS)]
        plain = encode(as_batch([one.image for one in sound]))
        self._mean, self._spread = plain.mean(dim=(0, 1)), plain.std(dim=(0, 1)) + 1e-6
        changed = encode(as_batch([image for image, _ in noisy]))
        masks = torch.stack([mask for _, mask in noisy])
        truth = patch_masks(torch.cat((masks, torch.zeros_like(masks))))
        # Half of what is learned from stays sound.
        self._pair = self._learned(self._scaled(torch.cat((changed, plain.repeat(_VERSIONS, 1, 1)))), truth, steps)

    def _scaled(self, features: Tensor) -> Tensor:
        """(b, N, D + 1) features of the encoder on a common scale, and a constant."""
        found = (features - self._mean) / self._spread
        return torch.cat((found, torch.ones(*found.shape[:2], 1)), dim=-1)

    def _learned(self, features: Tensor, truth: Tensor, steps: int) -> Tensor:
        """(2, D + 1) unit directions."""
        pair = torch.zeros(2, features.shape[-1]).add_(0.01).requires_grad_(True)
        optimizer = torch.optim.Adam([pair], lr=_RATE)
        for _ in range(steps):
            logits = cosine_logits(features, normalize(pair, dim=-1))
            optimizer.zero_grad()
            torch.stack(map_losses(logits, (GRID, GRID), truth, "nearest")).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return normalize(pair.detach(), dim=-1)

    def maps(self, scenes: list[Scene]) -> Tensor:
        """(b, 14, 14) probabilities of a defect."""
        features = self._scaled(self._encode(as_batch([one.image for one in scenes])))
        logits = cosine_logits(features, self._pair)
        return logits.softmax(dim=-1)[..., 1].reshape(-1, GRID, GRID)


def as_batch(images: list[Tensor]) -> Tensor:
    """(b, 3, H, W) float between 0 and 1."""
    return torch.stack(images).float() / 255
