"""What `medzsad evaluate` can be told: its flags and the keys of configs/evaluate_*.yaml."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medzsad.config import Modality, PathText, Precision, UnitInterval, checked_model, read_options
from medzsad.errors import ConfigError

ProtocolName = Literal["plain", "bayes-pfl", "cops", "anomalyclip", "faprompt", "april-gan"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BenchmarkOptions(_Part):
    """One benchmark to evaluate; a field's description is the help of its flag."""

    benchmark: str = Field(description="A known data set; `--benchmark list` explains all of them.")
    data: Path | None = Field(
        default=None,
        description="Its folder; None for generated sets, and with `scores_from` for the folder that the scores were "
        "made of.",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="What it is called in the results; None takes the benchmark's name. Needed to evaluate two copies "
        "of one benchmark at once.",
    )
    class_name: str | None = Field(
        default=None, description="Word for the organ in the prompts; by default that of the benchmark."
    )
    modality: Modality | None = Field(
        default=None, description="Modality of volumes, such as CT; by default that of the benchmark or the file."
    )
    lesion_values: tuple[int, ...] | None = Field(
        default=None,
        description="Values in the labels of volumes that are lesions, such as 1,3; by default those of the benchmark.",
    )
    frame: int | str | None = Field(
        default=None, description="Frame of 4D volumes: its number or, for msd, the name of its modality."
    )

    @property
    def called(self) -> str:
        """The name in the results."""
        return self.name or self.benchmark


class EvaluateConfig(_Part):
    """Options of `medzsad evaluate`; the resolved values are written into results.json.

    A field's description is the help of its flag.
    """

    benchmarks: tuple[BenchmarkOptions, ...] = Field(min_length=1, description="What is evaluated.")
    weights: PathText = Field(
        default="medzsad-mini", description="Name of installed weights (`medzsad weights list`), or a weights file."
    )
    clip_weights: PathText | None = Field(
        default=None,
        description="CLIP tower for weights that do not bring their own: a file, or a name in local caches.",
    )
    guide_weights: PathText | None = Field(
        default=None,
        description="File of DINOv2 ViT-B/14 with registers; its features then guide those of Crane weights (Crane+).",
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Prompt samples per image; by default the number stored with the weights.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the prompt samples and of the bootstrap resampling.")
    device: str = Field(default="auto", description="Where the model runs: auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = Field(default="float32", description="Arithmetic of the model.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Images scored at once; changes no metric.")
    protocol: ProtocolName = Field(
        default="plain",
        description="How metrics of pictures are taken; volumes are always scored as `medzsad run` does.",
    )
    threshold: UnitInterval | None = Field(
        default=None, description="Threshold for Dice and lesions; by default that of the weights."
    )
    skip_bad: bool = Field(
        default=False, description="Leave out what the check of the data finds wrong, instead of ending."
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        description="End with 1 if a value published of this model is missed by more percentage points than this, or "
        "if there is none.",
    )
    scores_from: Path | None = Field(
        default=None,
        description="Results of an earlier evaluation whose kept scores are measured again, without the model.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "EvaluateConfig":
        names = [one.called for one in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Duplicate benchmark name {', '.join(twice)}; give each entry a unique 'name'.")
        return self


def make_evaluate_config(
    options: Mapping[str, Any], where: str, folder: Path | None = None, data: Path | None = None
) -> EvaluateConfig:
    """A checked configuration from plain values.

    Args:
        options: Keys of `EvaluateConfig`.
        where: For messages.
        folder: What relative paths count from; None leaves them as they are.
        data: What those of benchmarks count from instead.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    config = checked_model(EvaluateConfig, options, where)
    return config if folder is None else _placed(config, folder, data or folder)


def read_evaluate_config(path: Path, flags: Mapping[str, Any], data: Path | None = None) -> EvaluateConfig:
    """The configuration of a YAML file, flags over its keys.

    Args:
        path: The file.
        flags: Keys of `EvaluateConfig` that replace its own.
        data: What the relative `data` of its benchmarks count from; None takes the file's folder.

    Raises:
        ConfigError: The file cannot be read, a key is unknown or a value is out of range.
    """
    options = read_options(path)
    # Paths in the file count from the file, those of flags from where the command is given.
    config = make_evaluate_config(options, str(path), path.parent, data)
    if not flags:
        return config
    return make_evaluate_config({**config.model_dump(), **flags}, f"{path} with the given options")


def earlier_options(results: Path) -> dict[str, Any]:
    """The options of an earlier evaluation.

    Args:
        results: Folder of its results.

    Raises:
        ConfigError: The folder holds no results.
    """
    options: dict[str, Any] = _earlier_results(results)["options"]
    return options


def earlier_versions(results: Path) -> dict[str, str]:
    """The versions of the libraries of an earlier evaluation; none where it did not write them yet.

    Args:
        results: Folder of its results.

    Raises:
        ConfigError: The folder holds no results.
    """
    return dict(_earlier_results(results).get("versions", {}))


def _earlier_results(results: Path) -> dict[str, Any]:
    # Results of earlier schemas are read too: options and benchmarks stand at the same place in all of them.
    try:
        found = json.loads((results / "results.json").read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("options"), dict) and "benchmarks" in found["options"]:
            return found
        reason = "results.json is not one of an evaluation"
    except (OSError, ValueError) as error:
        reason = error.__class__.__name__
    raise ConfigError(
        f"{results} holds no results of an evaluation ({reason}). Name its folder, or evaluate there first."
    )


def earlier_benchmarks(results: Path, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The benchmarks of an earlier evaluation, as options.

    Args:
        results: Folder of its results.
        changes: Options that replace those of its only benchmark.

    Raises:
        ConfigError: The folder holds no results, or changes are asked for and there are several benchmarks.
    """
    benchmarks: list[dict[str, Any]] = earlier_options(results)["benchmarks"]
    if changes and len(benchmarks) > 1:
        raise ConfigError(f"{results} holds {len(benchmarks)} benchmarks; name the one meant with --benchmark.")
    return [{**one, **changes} for one in benchmarks]


def _placed(config: EvaluateConfig, folder: Path, data: Path) -> EvaluateConfig:
    placed = [
        one if one.data is None else one.model_copy(update={"data": data / one.data}) for one in config.benchmarks
    ]
    source = None if config.scores_from is None else folder / config.scores_from
    return config.model_copy(update={"benchmarks": tuple(placed), "scores_from": source})
