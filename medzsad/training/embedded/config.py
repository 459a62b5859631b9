"""The recipe of medzsad-mini as numbers: the keys of configs/train_mini.yaml."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medzsad.errors import ConfigError


class Stage(BaseModel):
    """Part of the first phase with one image size.

    Attributes:
        until: Ends at this share of the first phase's time.
        size: Side of the images in pixels, a multiple of the patch size.
        generated: Generated images in a batch.
        industrial: Auxiliary images in a batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: float = Field(gt=0, le=1)
    size: int = Field(gt=0)
    generated: int = Field(ge=2)
    industrial: int = Field(ge=0)


class MiniConfig(BaseModel):
    """Numbers of the recipe; times are time spent computing, so that an interruption costs nothing.

    Attributes:
        auxiliary: Folder with meta.json and the auxiliary images.
        classes: Auxiliary classes that are used; only those whose licence lets the weights be shipped.
        seed: Seed of everything random.
        threads: Threads of the arithmetic.
        bfloat16: Whether the tower computes in bfloat16 while it learns.
        alignment_minutes: Length of the first phase.
        stages: Image sizes of the first phase, in order; the last one ends at 1.
        muon: Whether the matrices of the blocks are trained by Muon instead of AdamW.
        learning_rate: Highest rate of the first phase for the matrices of the blocks.
        other_learning_rate: The same for everything else: embeddings, norms, projections, temperatures.
        weight_decay: Decay of the blocks' matrices.
        warm_up: Share of the first phase in which the rate rises.
        clip_gradient: Largest norm of the gradient.
        average: Decay of the running average of the weights.
        label_weight: Weight of the image label's loss.
        caption_weight: Weight of the captions' contrast.
        prompt_minutes: Length of the second phase, its first stage.
        head_minutes: Length of the second phase, its second stage (image head).
        prompt_batch: Images in a batch of the second phase; half are auxiliary.
        reuse: Steps of the second phase per batch that the frozen tower sees.
        samples: Prompt samples that the finished model draws.
        validate_every: Seconds between two measurements on held-out images.
        save_every: Seconds between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auxiliary: Path
    classes: tuple[str, ...] = ("ball screw", "printed circuit board", "road", "cookie")
    seed: int = 7
    threads: int = Field(default=2, ge=1)
    bfloat16: bool = True
    alignment_minutes: float = Field(default=50, gt=0)
    stages: tuple[Stage, ...]
    muon: bool = True
    learning_rate: float = Field(default=2.5e-3, gt=0)
    other_learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warm_up: float = Field(default=0.03, gt=0, lt=1)
    clip_gradient: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    label_weight: float = Field(default=0.5, ge=0)
    caption_weight: float = Field(default=0.1, ge=0)
    prompt_minutes: float = Field(default=6, gt=0)
    head_minutes: float = Field(default=2, gt=0)
    prompt_batch: int = Field(default=16, ge=2)
    reuse: int = Field(default=4, ge=1)
    samples: int = Field(default=4, ge=1)
    validate_every: float = Field(default=300, gt=0)
    save_every: float = Field(default=180, gt=0)


def read_mini_config(path: Path) -> MiniConfig:
    """The recipe in a YAML file; a relative `auxiliary` counts from the file's folder.

    Raises:
        ConfigError: The file cannot be read or a key or value is wrong.
    """
    try:
        config = MiniConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.__class__.__name__}.") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {problems}.") from None
    if config.stages[-1].until != 1:
        raise ConfigError(f"{path}: the last of 'stages' must end at 1, not {config.stages[-1].until}.")
    return config.model_copy(update={"auxiliary": (path.parent / config.auxiliary).resolve()})
