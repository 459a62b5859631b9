"""What a run can be told: one model, equal to the flags of `medzsad run` and to the keys of configs/run.yaml."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from medzsad.errors import ConfigError

Axis = Literal["acquisition", "axial", "coronal", "sagittal"]
ResizeRule = Literal["fit", "stretch"]
ScoreDtype = Literal["float32", "float16-scaled"]
Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]

# Codes of DICOM's Modality (PS3.3 C.7.3.1.1.1) that hold pictures, and PICTURE for 8-bit ones.
MODALITIES = ("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OPT", "OP", "ES", "XC", "SM", "PICTURE")


def _known_modality(value: str) -> str:
    if value.upper() not in MODALITIES:
        raise ValueError(f"known modalities are {', '.join(MODALITIES)}")
    return value.upper()


Modality = Annotated[str, AfterValidator(_known_modality)]
PathText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
UnitInterval = Annotated[float, Field(ge=0.0, le=1.0)]
Options = TypeVar("Options", bound=BaseModel)


class RunConfig(BaseModel):
    """Options of `medzsad run`; the resolved values are written into every report.

    Attributes:
        weights: Name of installed weights (`medzsad weights list`) or path of a weights file.
        clip_weights: CLIP tower for weights that do not bring their own: a file, or a name such as
            ViT-L-14-336/openai that is looked up in local caches.
        class_name: Word for the organ in the prompts; None takes the one stored with the weights.
        modality: Overrides the modality of the file ("CT", "MR", ...); NIfTI does not carry one.
        axis: Which slices are scored; `acquisition` takes those with the best in-plane resolution.
        slice_step: Score every so many slices and interpolate those between; 1 scores all.
        window: "auto", a preset such as "lung" (see `medzsad.slices.window`), or "LOW,HIGH" in units of the scan.
        resize: `fit` keeps millimetres true and pads; `stretch` fills the square, as in the papers.
        samples: Prompt samples per slice; None takes the number stored with the weights.
        seed: Seed of the prompt samples, which all slices share.
        threshold: Score from which a voxel belongs to a lesion; None takes the calibrated one of the weights.
        smooth_mm: Standard deviation of a Gaussian over the scores, in millimetres; 0 for none.
        min_volume_mm3: Components smaller than this are dropped from the mask.
        series: Only these series: SeriesInstanceUID, its beginning, SeriesNumber, or case name.
        frame: Which frame of 4D data is scored.
        all_frames: Score every frame of 4D data as a case of its own.
        allow_irregular: Score tilted, gapped and short series slice by slice instead of refusing them.
        allow_labels: Score volumes that look like masks or label maps instead of refusing them.
        min_slices: Fewest slices of a volume in any format; images of a single slice are no volumes.
        max_voxels: Largest number of voxels of one scan; larger ones are refused before memory is taken.
        max_archive_bytes: Largest unpacked size of one archive.
        score_dtype: How score.nii.gz stores its values.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: Arithmetic of the model; float32 is the reference, auto takes bfloat16 where the device multiplies
            it in hardware.
        batch_size: Slices scored at once; does not change the results. None takes what fits into memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: PathText = "medzsad-mini"
    clip_weights: PathText | None = None
    class_name: str | None = None
    modality: Modality | None = None
    axis: Axis = "acquisition"
    slice_step: int = Field(default=1, ge=1, le=100)
    window: str = "auto"
    resize: ResizeRule = "fit"
    samples: int | None = Field(default=None, ge=1, le=1000)
    seed: int = Field(default=0, ge=0)
    threshold: UnitInterval | None = None
    smooth_mm: float = Field(default=0.0, ge=0.0, le=100.0)
    min_volume_mm3: float = Field(default=0.0, ge=0.0)
    series: tuple[str, ...] = ()
    frame: int | None = Field(default=None, ge=0)
    all_frames: bool = False
    allow_irregular: bool = False
    allow_labels: bool = False
    min_slices: int = Field(default=4, ge=1)
    max_voxels: int = Field(default=1_000_000_000, ge=1)
    max_archive_bytes: int = Field(default=16 * 1024**3, ge=1)
    score_dtype: ScoreDtype = "float32"
    device: str = "auto"
    precision: PrecisionChoice = "auto"
    batch_size: int | None = Field(default=None, ge=1, le=4096)


# These choose cases, limits or speed; none of them changes what a case's files hold.
_NOT_IN_KEY = frozenset(
    {"series", "all_frames", "allow_labels", "max_voxels", "max_archive_bytes", "device", "batch_size"}
)


def result_options(config: RunConfig) -> dict[str, Any]:
    """The options that change a case's files, as plain JSON values; part of the key under which a case is done."""
    return config.model_dump(mode="json", exclude=set(_NOT_IN_KEY))


def make_config(options: Mapping[str, Any], where: str = "options") -> RunConfig:
    """A checked RunConfig from plain values.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    config = checked_model(RunConfig, options, where)
    if config.frame is not None and config.all_frames:
        raise ConfigError(f"{where}: 'frame' and 'all_frames' exclude each other; give one of them.")
    return config


def checked_model(model: type[Options], options: Mapping[str, Any], where: str) -> Options:
    """A model of plain values.

    Args:
        model: With `extra="forbid"`.
        options: Keys and values, perhaps nested.
        where: Named in errors.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named), one is missing, or a value is out of range.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        problems = (_sentence(model, e["type"], e["loc"], e["input"], e["msg"]) for e in error.errors())
        raise ConfigError(f"{where}: {' '.join(problems)}") from None


def _sentence(model: type[BaseModel], kind: str, place: tuple[int | str, ...], given: object, message: str) -> str:
    key = ".".join(map(str, place)) or "options"
    if kind == "missing":
        return f"the key '{key}' is missing."
    if kind != "extra_forbidden":
        return f"{key} = {given!r}: {message}." if place else f"{message}."
    known = list(_model_at(model, place[:-1]).model_fields)
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"unknown key '{key}'." + (f" Did you mean '{near[0]}'?" if near else f" Known keys: {', '.join(known)}.")


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """The model of the part at a place, through optional parts and tuples of parts."""
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def read_options(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, unchecked.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Cannot read the configuration {path}: {error.__class__.__name__}. Give a YAML file, UTF-8."
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{path} is not valid YAML: {first}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not a {type(values).__name__}.")
    return values
