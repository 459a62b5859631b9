"""Gradients guided by a meta-prompt, in a made-up space where synthetic defects look unlike real ones.

All defects share a direction that the meta-prompt knows roughly. Synthetic ones have a look of their own beside it,
which some sound patches of the test have too; real ones have others, which training never shows.
"""

from collections.abc import Sequence

import torch
from reconstruction_claims import Claim, Figures
from reconstruction_world import WIDTH
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import normalize

from medzsad.methods.losses import map_losses
from medzsad.methods.prompts import cosine_logits
from medzsad.training.guidance import guided

_PATCHES = 64
_SHOTS, _VERSIONS, _BATCH = 4, 8, 8
_RATE = 3e-3
_REFRESH_STEPS, _REFRESH_RATE = 10, 0.01
_STRENGTHS = (0.0, 0.5, 1.0, 2.0)
_REAL_KINDS = 3


class Space:
    """The directions of one made-up space.

    Args:
        seed: Decides on all of them.
    """

    _object: Tensor
    _sound: Tensor
    _abnormal: Tensor
    _synthetic: Tensor

    def __init__(self, seed: int) -> None:
        self._source = torch.Generator().manual_seed(seed)
        directions = torch.linalg.qr(self._random(WIDTH, WIDTH)).Q.T
        self._object, self._sound, self._abnormal, self._synthetic = directions[:4]
        self._real = directions[4 : 4 + _REAL_KINDS]

    def meta(self) -> Tensor:
        """(2, D) unit features of the meta-prompt."""
        both = torch.stack((self._sound, self._abnormal))
        return normalize(both + 1.0 * self._random(2, WIDTH) / WIDTH**0.5, dim=-1)

    def training(self) -> tuple[Tensor, Tensor]:
        """Patches (b, N, D) and masks (b, N) of versions of a few images, half of them with synthetic defects."""
        base = self._patches(_SHOTS).repeat(2 * _VERSIONS, 1, 1)
        masks = self._masks(len(base), len(base) // 2)
        look = 0.15 * self._abnormal + 0.5 * self._synthetic
        return self._marked(base, masks, look.expand(len(base), -1)), masks

    def test(self, count: int) -> tuple[Tensor, Tensor]:
        """As for training, with real defects in half of the images, and harmless patches that look synthetic."""
        base = self._patches(count)
        harmless = (torch.rand(count, _PATCHES, 1, generator=self._source) < 0.3).float()
        kinds = torch.randint(_REAL_KINDS, (count,), generator=self._source)
        masks = self._masks(count, count // 2)
        look = 0.25 * self._abnormal + 0.4 * self._real[kinds]
        return self._marked(base + 0.35 * harmless * self._synthetic, masks, look), masks

    def _patches(self, count: int) -> Tensor:
        noise = 0.9 * self._random(count, _PATCHES, WIDTH) / WIDTH**0.5
        found: Tensor = self._object + 0.3 * self._sound + noise
        return found

    def _masks(self, count: int, abnormal: int) -> Tensor:
        """(count, N), each of the first so many images with a row of defective patches."""
        start = torch.randint(_PATCHES - 8, (count, 1), generator=self._source)
        place = torch.arange(_PATCHES)
        masks = ((place >= start) & (place < start + 8)).float()
        masks[abnormal:] = 0
        return masks

    def _marked(self, base: Tensor, masks: Tensor, look: Tensor) -> Tensor:
        """Patches with a look (b, D) instead of what is sound where masks are."""
        return base + masks[..., None] * (look - 0.3 * self._sound)[:, None]

    def _random(self, *shape: int) -> Tensor:
        drawn: Tensor = torch.randn(*shape, generator=self._source)
        return drawn


def divergence(wanted: Tensor, logits: Tensor) -> Tensor:
    """Mean KL divergence of predictions (b, N, 2) from wanted ones."""
    goal, found = wanted.log_softmax(dim=-1), logits.log_softmax(dim=-1)
    return (goal.exp() * (goal - found)).sum(dim=-1).mean()


def _losses(student: Sequence[Tensor], meta: Tensor, patches: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the task and that of the guide, of a batch."""
    logits = cosine_logits(patches, normalize(torch.stack(list(student)), dim=-1))
    parts = map_losses(logits, (1, _PATCHES), masks[:, None], "nearest")
    return 4 * torch.stack(parts).sum(), divergence(cosine_logits(patches, meta), logits)


def learned(
    meta: Tensor, training: tuple[Tensor, Tensor], strength: float, steps: int, seed: int, refresh: bool = True
) -> Tensor:
    """(2, D) unit features of prompts that start at the meta-prompt and learn under its guidance."""
    student = [nn.Parameter(row.clone()) for row in meta]
    optimizer = torch.optim.Adam(student, lr=_RATE)
    source = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        rows = torch.randperm(len(training[0]), generator=source)[:_BATCH]
        task, guide = _losses(student, meta, training[0][rows], training[1][rows])
        # Both are of the same predictions.
        wanted = torch.autograd.grad(task, student, retain_graph=True)
        general = torch.autograd.grad(guide, student)
        for row, first, second in zip(student, wanted, general, strict=True):
            row.grad = guided(first, second, strength)
        optimizer.step()
        if refresh and step % _REFRESH_STEPS == 0:
            now = normalize(torch.stack([row.detach() for row in student]), dim=-1)
            meta = normalize(meta.lerp(now, _REFRESH_RATE), dim=-1)
    return normalize(torch.stack([row.detach() for row in student]), dim=-1)


def _auroc(text: Tensor, test: tuple[Tensor, Tensor]) -> float:
    scores = cosine_logits(test[0], text).softmax(dim=-1)[..., 1]
    return float(roc_auc_score(test[1].flatten().numpy(), scores.flatten().numpy()))


def measure(seed: int, steps: int, test: int) -> Figures:
    """AUROC on real defects for each strength of guidance, without refreshing, and of the meta-prompt itself."""
    space = Space(seed)
    meta, training, scored = space.meta(), space.training(), space.test(test)
    found = {f"strength {one:g}": _auroc(learned(meta, training, one, steps, seed), scored) for one in _STRENGTHS}
    fixed = learned(meta, training, 1.0, steps, seed, refresh=False)
    return found | {"not refreshed": _auroc(fixed, scored), "meta-prompt": _auroc(meta, scored)}


def claims() -> list[Claim]:
    """What is claimed of the guidance."""

    def one_against(other: str, words: str) -> dict[str, str]:
        return {"strength 1": "1", other: words}

    return [
        Claim("Guidance of strength 1 beats none on unseen real defects", one_against("strength 0", "0")),
        Claim("Guidance of strength 1 beats 0.5", one_against("strength 0.5", "0.5")),
        Claim("Guidance of strength 1 beats 2", one_against("strength 2", "2")),
        Claim("Guidance of strength 1 beats the bare meta-prompt", one_against("meta-prompt", "meta-prompt")),
        Claim("Refreshing the meta-prompt helps", {"strength 1": "refreshed", "not refreshed": "not refreshed"}),
    ]
