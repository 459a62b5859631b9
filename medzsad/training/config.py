"""What `medzsad train` can be told: the keys of configs/train_*.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medzsad.config import PrecisionChoice, UnitInterval, checked_model, read_options


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataOptions(_Part):
    """Where auxiliary images lie.

    Attributes:
        root: Folder, or its json or csv file; a relative path counts from the configuration file, or from --data.
        layout: One of `medzsad.datasets.layouts.LAYOUTS`.
        split: Which split of layouts that have splits; the papers train on "test".
        classes: Only these; None takes all.
        shots: Train on no more than so many sound images of each class, chosen by the seed, and on no defects, as few-
            shot methods do; None trains on all images.
    """

    root: Path
    layout: str = "auto"
    split: Literal["train", "test", "all"] = "test"
    classes: tuple[str, ...] | None = None
    shots: int | None = Field(default=None, ge=1)


class LegacyValidation(_Part):
    """Test images of another benchmark that choose the epoch, as in the authors' program (METHODS A.5).

    Attributes:
        root: As in DataOptions.
        layout: As in DataOptions.
        classes: As in DataOptions.
    """

    root: Path
    layout: str = "auto"
    classes: tuple[str, ...] | None = None


class CacheOptions(_Part):
    """Features of the frozen tower, kept on disk.

    Attributes:
        variants: Augmented variants of each training image; epoch e sees variant e mod `variants`. 0 keeps nothing
            and augments differently in every epoch.
        folder: Where they lie; None takes OUT/features.
    """

    variants: int = Field(default=0, ge=0, le=1000)
    folder: Path | None = None


class TrainConfig(_Part):
    """Options of `medzsad train`.

    Attributes:
        method: Name of the method, as `medzsad.methods.registry` knows it.
        options: Of the method's training, see its `train_options`; of a method that learns nothing by steps, how its
            weights are used, see its `options`.
        data: The auxiliary images.
        hold_out: Share of them that chooses epochs and the threshold and is never trained on.
        tower: Name or file of weights that bring a CLIP tower, an open_clip name such as ViT-L-14-336/openai, or the
            file of a tower.
        image_size: Side of the input in pixels; None takes that of the tower's weights, else the method's.
        layers: Vision blocks that are read; None takes those of the tower's weights, else the method's.
        window: Side of the square of patches that a patch sees in the tower's local attention, an odd number; 0 for all
            patches, None for that of the method.
        start: "fresh", or name or file of the weights whose prompts are trained further; their sizes then count.
        batch: Images per step, those of all processes together.
        accumulate: Parts that each process cuts its share of a batch into, to save memory.
        epochs: At most, of both stages together.
        patience: Epochs without improvement in a row that end a stage.
        keep: Whose weights are written: those of the `best` epoch on held-out images, or those of the `last` one,
            which needs no held-out images and no validation.
        seed: Of everything random.
        validation_samples: Prompt samples per image in validation.
        augment: Whether training images are augmented.
        mosaic: Chance that a training image gives way to a mosaic of four defects of its class.
        object_noise: Chance that a sound training image gets noise on a part of its object, which is then its defect.
        cache: Features kept on disk.
        precision: Arithmetic of the tower and the text side; auto takes bfloat16 where the device has it in hardware.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: Threads that read images; changes no result.
        save_seconds: How often the state is saved.
        max_minutes: Stop after so long, to be gone on with later; changes no result.
        tensorboard: Whether a log for TensorBoard is written to OUT/board.
        skip_bad: Leave out images with errors instead of refusing to train.
        legacy_validation: Choose the epoch on test images of another benchmark; None uses held-out images. The authors
            hold nothing out: set `hold_out: 0` beside it. The threshold then rests on phantoms alone.
        false_pixels: Share of normal pixels that the threshold lets through.
        phantoms: Generated healthy images that the threshold is chosen on beside held-out ones.
        name: Of the weights.
        class_name: Word for the object, stored with the weights.
        samples: Prompt samples per image, stored with the weights; None takes the number of the method's authors.
        license: Of the weights, stored with them.
        source: Where the data come from and under which licenses, stored with the weights.
        description: A sentence for reports, stored with the weights.
    """

    method: str = "bayes_pfl"
    options: dict[str, Any] = Field(default_factory=dict)
    data: DataOptions
    hold_out: float = Field(default=0.15, ge=0, lt=1)
    tower: str = "medzsad-mini"
    image_size: int | None = Field(default=None, ge=1)
    layers: tuple[int, ...] | None = None
    window: int | None = Field(default=None, ge=0)
    start: str = "fresh"
    batch: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    epochs: int = Field(default=30, ge=1)
    patience: int = Field(default=4, ge=1)
    keep: Literal["best", "last"] = "best"
    seed: int = Field(default=333, ge=0)
    validation_samples: int = Field(default=5, ge=1)
    augment: bool = True
    mosaic: UnitInterval = 0.0
    object_noise: UnitInterval = 0.0
    cache: CacheOptions = CacheOptions()
    precision: PrecisionChoice = "auto"
    device: str = "auto"
    workers: int = Field(default=2, ge=0, le=256)
    save_seconds: float = Field(default=60.0, ge=0)
    max_minutes: float | None = Field(default=None, gt=0)
    tensorboard: bool = False
    skip_bad: bool = False
    legacy_validation: LegacyValidation | None = None
    false_pixels: float = Field(default=0.005, gt=0, lt=1)
    phantoms: int = Field(default=128, ge=0)
    name: str = "trained"
    class_name: str = "object"
    samples: int | None = Field(default=None, ge=1, le=1000)
    license: str = ""
    source: str = ""
    description: str = ""


# These say where things are, how fast it goes or when to pause; none of them changes the weights.
_NOT_IN_RESULT: dict[str, Any] = {
    "data": {"root"},
    "legacy_validation": {"root"},
    "cache": {"folder"},
    "device": True,
    "workers": True,
    "save_seconds": True,
    "max_minutes": True,
    "tensorboard": True,
    "skip_bad": True,
    "precision": True,
}


def result_keys(config: TrainConfig) -> dict[str, Any]:
    """The options that the weights depend on, as plain JSON values, nested keys joined by dots.

    The precision is left out because "auto" depends on the computer; what it came to is part of the state.
    """
    flat: dict[str, Any] = {}
    for key, value in config.model_dump(mode="json", exclude=_NOT_IN_RESULT).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": content for inner, content in value.items()}
        else:
            flat[key] = value
    return flat


def read_train_config(path: Path, data: Path | None = None) -> TrainConfig:
    """The options in a YAML file; relative paths count from its folder.

    Args:
        path: The file.
        data: What the relative `root` of its data counts from instead.

    Raises:
        ConfigError: The file cannot be read, a key is unknown (the nearest known one is named), or a value is wrong.
    """
    return make_train_config(read_options(path), path.parent, str(path), data)


def make_train_config(
    options: Mapping[str, Any], folder: Path, where: str = "options", data: Path | None = None
) -> TrainConfig:
    """A checked TrainConfig from plain values.

    Args:
        options: Keys and values.
        folder: What relative paths count from.
        where: Named in errors.
        data: What the relative `root` of data counts from; None takes `folder`.

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    return _with_paths(checked_model(TrainConfig, options, where), folder, folder if data is None else data)


def _with_paths(config: TrainConfig, folder: Path, data: Path) -> TrainConfig:
    def absolute(path: Path, base: Path = folder) -> Path:
        return (base / path.expanduser()).resolve()

    def named(text: str) -> str:
        return str(absolute(Path(text))) if (folder / text).is_file() else text

    found: dict[str, Any] = {
        "data": config.data.model_copy(update={"root": absolute(config.data.root, data)}),
        "tower": named(config.tower),
        "start": named(config.start),
    }
    if config.cache.folder is not None:
        found["cache"] = config.cache.model_copy(update={"folder": absolute(config.cache.folder)})
    if (legacy := config.legacy_validation) is not None:
        found["legacy_validation"] = legacy.model_copy(update={"root": absolute(legacy.root, data)})
    return config.model_copy(update=found)
