"""The recipe of medzsad-mini as numbers: the keys of recipes/medzsad_mini/config.yaml."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medzsad.config import PrecisionChoice, checked_model, read_options


class Stage(BaseModel):
    """Part of the first phase with one image size.

    Attributes:
        steps: How many steps it has.
        size: Side of the images in pixels, a multiple of 16.
        generated: Generated images in a batch.
        industrial: Auxiliary images in a batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    size: int = Field(gt=0, multiple_of=16)
    generated: int = Field(ge=2)
    industrial: int = Field(ge=0)


class MiniConfig(BaseModel):
    """Numbers of the recipe.

    Attributes:
        auxiliary: Folder with meta.json and the auxiliary images.
        teacher: Whether the stem starts from EfficientNet-Lite2; otherwise from random numbers.
        anatomies: How many different heads are generated.
        classes: Auxiliary classes that are used; only those whose license lets the weights be shipped.
        seed: Seed of everything random.
        threads: Threads of the arithmetic.
        precision: Arithmetic of the tower while it learns; auto takes bfloat16 where the processor multiplies
            it in hardware. Elsewhere bfloat16 took minutes a step.
        stages: Image sizes of the first phase, in order.
        learning_rate: Highest rate of the first phase for the matrices of the transformer (Muon).
        other_learning_rate: The same for decoder, text tower and projections (AdamW).
        stem_learning_rate: The same for the later stages of the stem; its first two stay as the teacher made them.
        weight_decay: Decay of the transformer's matrices.
        warm_up: Steps in which the rates rise.
        cool_down: Share of all steps, the last ones, in which the rates fall to zero.
        clip_gradient: Largest norm of the gradient.
        average: Decay of the running average of the weights.
        label_weight: Weight of the image label's loss.
        caption_weight: Weight of the captions' contrast.
        separation_weight: Weight of the cosine between the two states of a name, where it is positive.
        validate_every: Steps between two measurements on held-out images.
        save_every: Steps between two checkpoints.
        prompt_steps: Steps of the second phase, its first stage (prompts).
        head_steps: Steps of the second phase, its second stage (image score).
        prompt_rate_factor: The prompts' rates over those of Bayes-PFL's authors: they start from what is learned
            already, not from noise, and at the full rates they forget it.
        head_rate_factor: The second stage learns so many times faster than Bayes-PFL's authors let it.
        prompt_batch: Images in a batch of the second phase; half are auxiliary.
        samples: Prompt samples that the finished model draws.
        decision_volumes: Phantoms that the decision is fitted and calibrated on, half of them healthy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auxiliary: Path
    teacher: bool = True
    anatomies: int = Field(default=48, ge=1)
    classes: tuple[str, ...] = ("ball screw", "printed circuit board", "road", "cookie")
    seed: int = 7
    threads: int = Field(default=2, ge=1)
    precision: PrecisionChoice = "auto"
    stages: tuple[Stage, ...] = Field(min_length=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    other_learning_rate: float = Field(default=5e-4, gt=0)
    stem_learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warm_up: int = Field(default=200, ge=1)
    cool_down: float = Field(default=0.25, ge=0, lt=1)
    clip_gradient: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    label_weight: float = Field(default=0.2, ge=0)
    caption_weight: float = Field(default=0.03, ge=0)
    separation_weight: float = Field(default=0.1, ge=0)
    prompt_steps: int = Field(default=500, ge=1)
    head_steps: int = Field(default=300, ge=1)
    prompt_rate_factor: float = Field(default=0.1, gt=0)
    head_rate_factor: float = Field(default=5.0, gt=0)
    prompt_batch: int = Field(default=16, ge=2)
    samples: int = Field(default=4, ge=1)
    decision_volumes: int = Field(default=240, ge=8)
    validate_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=200, ge=1)

    @property
    def steps(self) -> int:
        """Steps of the whole first phase."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage of a step, counted from 0."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def read_mini_config(path: Path, data: Path | None = None) -> MiniConfig:
    """The recipe in a YAML file.

    Args:
        path: The file.
        data: What relative paths in it count from; None takes the file's folder.

    Raises:
        ConfigError: The file cannot be read or a key or value is wrong.
    """
    config = checked_model(MiniConfig, read_options(path), str(path))
    return config.model_copy(update={"auxiliary": ((data or path.parent) / config.auxiliary).resolve()})
