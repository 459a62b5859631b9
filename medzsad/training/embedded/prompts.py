"""Second phase of medzsad-mini: Bayes-PFL prompts on the frozen tower (METHODS A.4, A.5)."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from medzsad.clip.load import tower_from_state
from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import ImageFeatures, image_features
from medzsad.methods.bayes_pfl import BayesPFL, PromptSample
from medzsad.methods.flow import FlowSample
from medzsad.methods.noise import Noise
from medzsad.training.checkpoints import load_checkpoint, save_checkpoint
from medzsad.training.embedded.alignment import Alignment, state_features
from medzsad.training.embedded.auxiliary import AuxiliarySet
from medzsad.training.embedded.batches import draw_batch
from medzsad.training.embedded.captions import ABNORMAL_STATES, NAMES, NORMAL_STATES, Vocabulary
from medzsad.training.embedded.config import MiniConfig
from medzsad.training.embedded.model import FEATURE_LAYERS, MODEL_CONFIG
from medzsad.training.losses import dice_loss, flow_kl, focal_loss, label_loss, orthogonality_loss

_log = logging.getLogger(__name__)

SPEC = TowerSpec(image_size=MODEL_CONFIG["vision_cfg"]["image_size"], layers=FEATURE_LAYERS)
_REDUCTION = 3
_KL_WEIGHT = 0.01
_BETAS = (0.5, 0.999)

# Batches whose features are kept and met again.
_POOL = 48

Stage = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the frozen tower says about a batch, and the truth at the size of the loss."""

    features: ImageFeatures
    masks: Tensor
    labels: Tensor
    names: tuple[str, ...]


def frozen_tower(model: Alignment, vocabulary: Vocabulary) -> open_clip.CLIP:
    """The aligned tower with CLIP's whole vocabulary; words that were not trained have zero embeddings."""
    state = dict(model.clip.state_dict())
    rows = state["token_embedding.weight"]
    table = torch.zeros(MODEL_CONFIG["text_cfg"]["vocab_size"], rows.shape[1])
    table[vocabulary.ids] = rows
    return tower_from_state(MODEL_CONFIG, SPEC, {**state, "token_embedding.weight": table})


def fresh_prompts(model: Alignment, vocabulary: Vocabulary, seed: int) -> BayesPFL:
    """A Bayes-PFL module for the tower that starts from what the first phase has learned.

    Patch projections and temperatures are taken over; the state tokens start as the words of the states.
    """
    torch.manual_seed(seed)
    width = MODEL_CONFIG["vision_cfg"]["width"]
    prompts = BayesPFL(
        width=MODEL_CONFIG["embed_dim"], vision_width=width, hidden=width // 2, layer_count=len(FEATURE_LAYERS)
    )
    with torch.no_grad():
        prompts.refinement.patches.load_state_dict(model.to_joint.state_dict())
        # The first phase compares along the unit difference of the texts, Bayes-PFL along the difference itself.
        gap = _text_gap(model, vocabulary)
        prompts.log_scale_pixel.copy_(model.pixel_scale - math.log(gap))
        prompts.log_scale_image.copy_(model.image_scale - math.log(gap))
        for tokens, words in ((prompts.prompt_normal, NORMAL_STATES), (prompts.prompt_abnormal, ABNORMAL_STATES)):
            tokens.copy_(_word_tokens(model, vocabulary, words, len(tokens)))
        # Near the identity, so that the label knowledge of the tower is not thrown away.
        prompts.text_head.weight.copy_(torch.eye(prompts.text_head.in_features))
        prompts.image_head.weight.copy_(torch.eye(prompts.image_head.in_features))
    return prompts


@torch.no_grad()
def _text_gap(model: Alignment, vocabulary: Vocabulary) -> float:
    """Mean distance between the unit text features of a normal and an abnormal state."""
    states = normalize(state_features(model.clip, NAMES, vocabulary, None), dim=-1)
    return float((states[:, 1] - states[:, 0]).norm(dim=-1).mean().clamp(min=1e-3))


def _word_tokens(model: Alignment, vocabulary: Vocabulary, words: tuple[str, ...], bank: int) -> Tensor:
    """(bank, len(words), D) embeddings of the words, another one first in each prompt, about as long as the samples."""
    rows, _ = vocabulary.compact(list(words))
    embeddings = model.clip.token_embedding.weight.detach()[rows[:, 1]]
    embeddings = embeddings / embeddings.std()
    return torch.stack([embeddings.roll(shift, dims=0) for shift in range(bank)])


def learn_prompts(
    config: MiniConfig, clip: open_clip.CLIP, prompts: BayesPFL, train: AuxiliarySet, out: Path
) -> BayesPFL:
    """The prompts after both stages; goes on from the checkpoints in `out`."""
    stages: tuple[tuple[Stage, float], ...] = ((1, config.prompt_minutes), (2, config.head_minutes))
    for stage, minutes in stages:
        _run_stage(config, clip, prompts, train, out / f"prompts{stage}.pt", stage, minutes * 60)
    return prompts.eval()


def _run_stage(
    config: MiniConfig,
    clip: open_clip.CLIP,
    prompts: BayesPFL,
    train: AuxiliarySet,
    path: Path,
    stage: Stage,
    budget: float,
) -> None:
    source = torch.Generator().manual_seed(config.seed + 100 * stage)
    optimizer = torch.optim.Adam(list(_groups(prompts, stage)), betas=_BETAS)
    base = [group["lr"] for group in optimizer.param_groups]
    seconds, step = 0.0, 0
    pool: deque[_Seen] = deque(maxlen=_POOL)
    state = load_checkpoint(path)
    if state is not None:
        prompts.load_state_dict(state["prompts"])
        optimizer.load_state_dict(state["optimizer"])
        source.set_state(state["source"])
        seconds, step = state["progress"]
    saved = seconds
    while seconds < budget:
        started = time.monotonic()
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * _schedule(seconds / budget)
        if step % config.reuse == 0:
            pool.append(_seen(clip, config, train, source))
        seen = pool[-1 if step % config.reuse == 0 else int(torch.randint(len(pool), (1,), generator=source))]
        losses = _losses(clip, prompts, seen, source, stage)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds, step = seconds + time.monotonic() - started, step + 1
        if step % 25 == 0:
            parts = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.items())
            _log.info("stage %d, step %d, %.0f s: %s", stage, step, seconds, parts)
        if seconds - saved > config.save_every or seconds >= budget:
            saved = seconds
            content = {"prompts": prompts.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(path, {**content, "source": source.get_state(), "progress": [seconds, step]})


def _schedule(done: float) -> float:
    return min(1.0, done * 10 + 0.01) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _groups(prompts: BayesPFL, stage: Stage) -> Iterator[dict[str, object]]:
    if stage == 2:
        heads = (prompts.text_head, prompts.image_head, prompts.summary)
        yield {"params": [p for head in heads for p in head.parameters()], "lr": 5e-4}
        return
    rates: dict[float, list[nn.Parameter]] = {1e-2: [], 1e-3: [], 1e-4: []}
    for name, parameter in prompts.named_parameters():
        rates[_rate(name)].append(parameter)
    for rate, parameters in rates.items():
        yield {"params": parameters, "lr": rate}


def _rate(name: str) -> float:
    if name.startswith("log_scale"):
        return 1e-2
    flows = name.startswith(("context_flow.", "normal_flow.", "abnormal_flow.")) and ".encoder." not in name
    return 1e-3 if flows or name.startswith("prompt_") else 1e-4


@torch.no_grad()
def _seen(clip: open_clip.CLIP, config: MiniConfig, train: AuxiliarySet, source: torch.Generator) -> _Seen:
    half = config.prompt_batch // 2
    batch = draw_batch(source, train, generated=config.prompt_batch - half, industrial=half, size=SPEC.image_size)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        found = image_features(clip, SPEC, batch.images)
    features = ImageFeatures(found.cls.float(), tuple(p.float() for p in found.patches), found.grid)
    size = SPEC.image_size // _REDUCTION
    masks = (interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0] > 0.5).float()
    return _Seen(features, masks, batch.labels, batch.names)


def _losses(
    clip: open_clip.CLIP, prompts: BayesPFL, seen: _Seen, source: torch.Generator, stage: Stage
) -> dict[str, Tensor]:
    features, masks = seen.features, seen.masks
    width, bank = prompts.sizes["width"], prompts.sizes["bank"]
    count = len(seen.labels)
    noise = Noise(*(torch.randn(*shape, width, generator=source) for shape in ((count, 1), (1,), (1,))))
    sample = prompts.sample_prompts(features, noise)
    if stage == 2:
        sample = _detached(sample)
    text = prompts.encode_prompts(clip, sample, seen.names)  # (b, B, 2, D)
    # One prompt pair per step, as the authors do.
    pair = int(torch.randint(bank, (1,), generator=source))
    losses = {"label": label_loss(prompts.image_logits(features, text, stage)[:, pair], seen.labels)}
    if stage == 2:
        return losses
    focal, dice = [], []
    for logits in prompts.pixel_logits(features, text):
        maps = interpolate(
            logits[:, pair].reshape(count, 2, *features.grid),
            size=masks.shape[-2:],
            mode="bilinear",
            align_corners=True,
        )
        probabilities = maps.softmax(dim=1)
        focal.append(focal_loss(probabilities, masks))
        dice.append(dice_loss(probabilities[:, 1], masks))
    divergence = torch.stack([_kl(flow) for flow in (sample.context, sample.normal, sample.abnormal)]).sum()
    return {
        **losses,
        "focal": torch.stack(focal).sum(),
        "dice": torch.stack(dice).sum(),
        "kl": _KL_WEIGHT * divergence,
        "orthogonality": orthogonality_loss(text[:, :, 0], text[:, :, 1]),
    }


def _kl(flow: FlowSample) -> Tensor:
    return flow_kl(flow.start, flow.mean, flow.log_variance, flow.end, flow.log_determinant)


def _detached(sample: PromptSample) -> PromptSample:
    return PromptSample(sample.tokens.detach(), sample.context, sample.normal, sample.abnormal)
