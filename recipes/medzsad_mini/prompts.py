"""Second phase of medzsad-mini: Bayes-PFL prompts on the frozen tower."""

import logging
import math
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from medzsad.clip.tower import Tower, tower_from_state
from medzsad.clip.vision import ImageFeatures, image_features
from medzsad.generator.images import generate
from medzsad.methods.bayes_pfl.model import BayesPFL, BayesPFLTrainOptions
from medzsad.methods.bayes_pfl.objective import BayesPFLObjective
from medzsad.methods.objective import Stage, Truth
from medzsad.training.optimization import make_optimizer, set_rates, warm_up_cosine
from medzsad.training.randomness import generator_for
from medzsad.training.state import load_checkpoint, save_checkpoint
from recipes.medzsad_mini.alignment import Alignment
from recipes.medzsad_mini.auxiliary import AuxiliarySet
from recipes.medzsad_mini.batches import Batch, draw_batch, normalize_images
from recipes.medzsad_mini.captions import ABNORMAL_STATES, NAMES, NORMAL_STATES, Vocabulary
from recipes.medzsad_mini.config import MiniConfig
from recipes.medzsad_mini.model import MODEL_CONFIG, SPEC, arithmetic
from recipes.medzsad_mini.states import CONTEXT_TOKENS, STATE_TOKENS, spoken_states, state_tokens

_log = logging.getLogger(__name__)

_REDUCTION = 2
_PROMPTS = 4  # first number of the random streams of this phase; those of the first phase are 1 to 3
_REPORT_EVERY = 25
# Shifts of the state tokens start this small beside the words that they shift.
_FLOW_START = 0.1
# Root mean square of the class token's entries. Bayes-PFL makes the weights of its flows from the class token, and no
# loss of the first phase holds its length: left alone it is some six times longer, and the flows' gradients 30 to 300
# times larger.
_CLASS_TOKEN_RMS = 0.7
_IMAGES_MEASURED = 32

_OBJECTIVE = BayesPFLObjective(BayesPFLTrainOptions())


@torch.no_grad()
def frozen_tower(model: Alignment, vocabulary: Vocabulary) -> open_clip.CLIP:
    """The aligned tower with CLIP's whole vocabulary; words that were not trained have zero embeddings.

    Its class tokens point where they did; on generated images their entries have a root mean square of 0.7.
    """
    state = dict(model.clip.state_dict())
    rows = state["token_embedding.weight"]
    table = torch.zeros(MODEL_CONFIG["text_cfg"]["vocab_size"], rows.shape[1])
    table[vocabulary.ids] = rows
    clip = tower_from_state(MODEL_CONFIG, SPEC, {**state, "token_embedding.weight": table})
    images = generate(_IMAGES_MEASURED, SPEC.image_size, torch.Generator().manual_seed(0)).images
    cls = image_features(clip, SPEC, normalize_images(images)).cls
    for projection in (clip.visual.proj, clip.visual.queries_proj):
        projection.mul_(_CLASS_TOKEN_RMS / cls.square().mean().sqrt())
    return clip


@torch.no_grad()
def fresh_prompts(model: Alignment, vocabulary: Vocabulary, seed: int) -> BayesPFL:
    """A Bayes-PFL module for the tower that starts from what the first phase has learned.

    Patch projections and temperatures are taken over; the state tokens start as the words of the states, each prompt of
    the bank with another order; the image heads start as the identity.
    """
    torch.manual_seed(seed)
    width = MODEL_CONFIG["vision_cfg"]["decoder_width"]
    prompts = BayesPFL(
        width=MODEL_CONFIG["embed_dim"],
        vision_width=width,
        hidden=width // 2,
        layer_count=len(SPEC.layers),
        context_tokens=CONTEXT_TOKENS,
        state_tokens=STATE_TOKENS,
    )
    for linear, projection in zip(prompts.refinement.patches.parameters(), model.clip.visual.to_joint, strict=True):
        linear.copy_(projection.T)
    # The first phase compares along the unit difference of the texts, Bayes-PFL along the difference itself.
    states = normalize(spoken_states(model.clip, NAMES, vocabulary, None), dim=-1)
    gap = float((states[:, 1] - states[:, 0]).norm(dim=-1).mean())
    prompts.log_scale_pixel.copy_(model.pixel_scale - math.log(gap))
    prompts.log_scale_image.copy_(model.image_scale - math.log(gap))
    for tokens, words in ((prompts.prompt_normal, NORMAL_STATES), (prompts.prompt_abnormal, ABNORMAL_STATES)):
        learned = state_tokens(model.clip, vocabulary, words)
        tokens.copy_(torch.stack([learned.roll(shift, dims=0) for shift in range(len(tokens))]))
    for flow in (prompts.normal_flow, prompts.abnormal_flow):
        flow.u.mul_(_FLOW_START)
    for head in (prompts.text_head, prompts.image_head):
        nn.init.eye_(head.weight)
    return prompts


def learn_prompts(
    config: MiniConfig, clip: open_clip.CLIP, prompts: BayesPFL, train: AuxiliarySet, out: Path
) -> BayesPFL:
    """The prompts after both stages; goes on from the checkpoints in `out`."""
    for number, steps in enumerate((config.prompt_steps, config.head_steps), start=1):
        _run_stage(config, clip, prompts, train, out / f"prompts{number}.pt", number, steps)
    return prompts.eval()


def _run_stage(
    config: MiniConfig,
    clip: open_clip.CLIP,
    prompts: BayesPFL,
    train: AuxiliarySet,
    path: Path,
    number: int,
    steps: int,
) -> None:
    stage = _OBJECTIVE.stages[number - 1]
    optimizer = make_optimizer(prompts, stage)
    for group in optimizer.param_groups:
        group["base_lr"] *= config.head_rate_factor if number == 2 else config.prompt_rate_factor
    state = load_checkpoint(path)
    first = 0
    if state is not None:
        prompts.load_state_dict(state["prompts"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    for step in range(first, steps):
        set_rates(optimizer, warm_up_cosine(step, steps))
        source = generator_for(config.seed, _PROMPTS, number, step)
        losses = _losses(config, clip, prompts, train, source, stage)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done = step + 1
        if done % _REPORT_EVERY == 0:
            parts = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.items())
            _log.info("stage %d, step %d of %d: %s", number, done, steps, parts)
        if done % config.save_every == 0 or done == steps:
            content = {"prompts": prompts.state_dict(), "optimizer": optimizer.state_dict(), "step": done}
            save_checkpoint(path, content)


def _losses(
    config: MiniConfig,
    clip: open_clip.CLIP,
    prompts: BayesPFL,
    train: AuxiliarySet,
    source: torch.Generator,
    stage: Stage,
) -> dict[str, Tensor]:
    half = config.prompt_batch // 2
    side = SPEC.image_size
    batch = draw_batch(
        source, train, generated=config.prompt_batch - half, industrial=half, size=side, anatomies=config.anatomies
    )
    features = _features(config, clip, batch)
    width, count = prompts.sizes["width"], len(batch.labels)
    shapes = {"context": (count, 1), "normal": (1,), "abnormal": (1,)}
    draws = {name: torch.randn(*shape, width, generator=source) for name, shape in shapes.items()}
    size = side // _REDUCTION
    masks = (interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0] > 0.5).float()
    truth = Truth(batch.labels, masks, torch.ones(count, dtype=torch.bool))
    return _OBJECTIVE.losses(prompts, Tower(clip, SPEC), features, batch.names, truth, draws, stage, source)


@torch.no_grad()
def _features(config: MiniConfig, clip: open_clip.CLIP, batch: Batch) -> ImageFeatures:
    with arithmetic(config.precision):
        found = image_features(clip, SPEC, batch.images)
    return ImageFeatures(found.cls.float(), tuple(p.float() for p in found.patches), found.grid)
