"""What a run can be told: one model, equal to the flags of `medzsad run` and to the keys of configs/run.yaml."""

import difflib
import reprlib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from medzsad.errors import ConfigError
from medzsad.unique_keys import UniqueKeys

Axis = Literal["acquisition", "axial", "coronal", "sagittal"]
ResizeRule = Literal["fit", "stretch"]
ScoreDtype = Literal["float32", "float16-scaled"]
Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]
Planes = Literal["acquisition", "all"]
AirRule = Literal["ignore", "score"]
Sensitivity = Literal["high", "balanced", "low"]

# Codes of DICOM's Modality (PS3.3 C.7.3.1.1.1) that hold pictures, and PICTURE for 8-bit ones.
MODALITIES = ("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OPT", "OP", "ES", "XC", "SM", "PICTURE")


def _known_modality(value: str) -> str:
    if value.upper() not in MODALITIES:
        raise ValueError(f"known modalities are {', '.join(MODALITIES)}")
    return value.upper()


Modality = Annotated[str, AfterValidator(_known_modality)]
PathText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


def _several(value: object) -> object:
    """A single name as a tuple of one; what is neither a name nor several is left to pydantic."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("name at least one")
    return (value,) if isinstance(value, str | Path) else value


UnitInterval = Annotated[float, Field(ge=0.0, le=1.0)]
SigmaMm = Annotated[float, Field(ge=0.0, le=100.0)]
Options = TypeVar("Options", bound=BaseModel)

# Wrong values are quoted in messages; a YAML file of a few lines can hold a value of gigabytes, by its aliases.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 200


class RunConfig(BaseModel):
    """Options of `medzsad run`; the resolved values are written into every report.

    A field's description is the help of its flag and the comment of its key in configs/run.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Annotated[tuple[PathText, ...], BeforeValidator(_several)] = Field(
        default=("medzsad-mini",),
        description="Name of installed weights (`medzsad weights list`) or path of a weights file. If several are "
        "named, their scores are made comparable and averaged.",
    )
    clip_weights: PathText | None = Field(
        default=None,
        description="CLIP tower for weights that do not bring their own: a file, or a name such as "
        "ViT-L-14-336/openai that is looked up in local caches.",
    )
    guide_weights: PathText | None = Field(
        default=None,
        description="File of DINOv2 ViT-B/14 with registers (Meta's or timm's); its features then guide those of Crane "
        "weights, as in Crane+. Weights of other methods refuse it.",
    )
    class_name: str | None = Field(
        default=None, description="Word for the organ in the prompts; by default the one stored with the weights."
    )
    modality: Modality | None = Field(
        default=None,
        description="Modality of the scans, such as CT, in place of that in the files; NIfTI does not carry one.",
    )
    axis: Axis = Field(
        default="acquisition",
        description="Which slices are scored; `acquisition` takes those with the best in-plane resolution.",
    )
    planes: Planes | None = Field(
        default=None,
        description="`all` scores and fuses three planes where voxels are nearly cubic; by default as the weights say.",
    )
    slice_step: int = Field(
        default=1, ge=1, le=100, description="Score every Nth slice and interpolate the others; 1 scores all slices."
    )
    window: str = Field(
        default="auto",
        description="`auto`, `percentiles`, a CT preset such as `lung`, or LOW,HIGH in units of the scan.",
    )
    resize: ResizeRule = Field(
        default="fit",
        description="`fit` keeps millimeters true and pads; `stretch` fills the square, as in the papers.",
    )
    samples: int | None = Field(
        default=None, ge=1, le=1000, description="Prompt samples per slice; by default those stored with the weights."
    )
    adapt: bool = Field(
        default=False,
        description="Let the prompts of PILOT-style weights adapt to each scan while its slices are scored in their "
        "order; the results are then called adapted.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the prompt samples, which all slices share.")
    threshold: UnitInterval | None = Field(
        default=None,
        description="Score from which a voxel belongs to a lesion; by default the calibrated one of the weights. If it "
        "is given, every component that reaches it is a lesion: nothing is decided per lesion.",
    )
    sensitivity: Sensitivity | None = Field(
        default=None,
        description="How many healthy scans may be called `lesion`: `high` aims at 20 %, `balanced` at 5 %, `low` at "
        "1 %; by default balanced, where the weights or --calibration decide per lesion. Not with --threshold.",
    )
    calibration: PathText | None = Field(
        default=None,
        description="File that `medzsad calibrate` made of normal scans of your own; its cut-offs replace those of the "
        "weights. Not with --threshold.",
    )
    smooth_mm: SigmaMm = Field(
        default=0.0, description="Standard deviation of a Gaussian over the scores, in millimeters; 0 for none."
    )
    smooth_axis_mm: SigmaMm | None = Field(
        default=None,
        description="Standard deviation of a Gaussian over the scores along the slicing axis alone, in millimeters; by "
        "default as the weights say.",
    )
    air: AirRule | None = Field(
        default=None, description="Scores in the air around the body become 0, or stay; by default as the weights say."
    )
    min_volume_mm3: float = Field(
        default=0.0, ge=0.0, description="Components below this, in cubic millimeters, are dropped from the mask."
    )
    series: tuple[str, ...] = Field(
        default=(),
        description="Only this series: SeriesInstanceUID, its beginning, SeriesNumber, or case name; several may be "
        "given.",
    )
    together: bool = Field(
        default=False,
        description="Adds a case for every head that was scanned several times in one frame of reference (T1, T2, "
        "FLAIR and the like); it combines their scores.",
    )
    frame: int | None = Field(default=None, ge=0, description="Which frame of 4D data is scored, counted from 0.")
    all_frames: bool = Field(default=False, description="Score every frame of 4D data as a case of its own.")
    allow_irregular: bool = Field(
        default=False,
        description="Score tilted, gapped and short series slice by slice instead of refusing them.",
    )
    allow_labels: bool = Field(
        default=False, description="Score volumes that look like masks or label maps instead of refusing them."
    )
    min_slices: int = Field(
        default=4,
        ge=1,
        description="Fewest slices of a volume in any format; images of a single slice are not counted as volumes.",
    )
    max_voxels: int = Field(
        default=1_000_000_000,
        ge=1,
        description="Largest number of voxels of one scan; larger ones are refused before memory is taken.",
    )
    max_archive_bytes: int = Field(
        default=16 * 1024**3, ge=1, description="Largest unpacked size of one archive, in bytes."
    )
    score_dtype: ScoreDtype = Field(default="float32", description="How score.nii.gz stores its values.")
    device: str = Field(default="auto", description="Where the model runs: auto, cpu, cuda, cuda:N or mps.")
    precision: PrecisionChoice = Field(
        default="auto",
        description="Arithmetic of the model; float32 is the reference, auto takes bfloat16 where the device "
        "multiplies it in hardware.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Slices scored at once; does not change the results. By default as many as fit into memory.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Processor threads of the model in each process; another number changes scores by rounding (up to "
        "about 2e-7). By default OMP_NUM_THREADS or all cores, and a share of them while other runs are going.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that score cases side by side, each with its share of the cores and its own model in "
        "memory.",
    )
    with_uids: bool = Field(
        default=False,
        description="Write the SOPInstanceUIDs of the slices that a lesion touches into the reports; they lead back "
        "to the patient where the archive of the hospital is at hand.",
    )


def make_config(options: Mapping[str, Any], where: str = "options") -> RunConfig:
    """A checked RunConfig from plain values.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    config = checked_model(RunConfig, options, where)
    if config.frame is not None and config.all_frames:
        raise ConfigError(f"{where}: 'frame' and 'all_frames' exclude each other; give one of them.")
    for other in ("sensitivity", "calibration"):
        if config.threshold is not None and getattr(config, other) is not None:
            raise ConfigError(
                f"{where}: 'threshold' and '{other}' exclude each other. A threshold makes every component that "
                "reaches it a lesion; leave it out to decide per lesion."
            )
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
    message = message.removeprefix("Value error, ")  # pydantic's words before those of our own checks
    if kind == "missing":
        return f"the key '{key}' is missing."
    if kind != "extra_forbidden":
        return f"{key} = {_SHORT.repr(given)}: {message}." if place else f"{message}."
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


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"The configuration file {path} does not exist. Check its path."
    if isinstance(error, UnicodeDecodeError):
        return f"The configuration file {path} is not text in UTF-8. Save it as such."
    return f"The configuration file {path} cannot be read ({error.strerror}). Give a readable YAML file."


def read_options(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, unchecked.

    Raises:
        ConfigError: The file cannot be read, is not YAML, holds a key twice, or is not a mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(_unreadable(path, error)) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML, {error.problem}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply. No option has more than three levels.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not a {type(values).__name__}.")
    return values


def run_yaml() -> str:
    """The content of configs/run.yaml: every key with its default, its description as a comment above it."""
    lines = ["# Every option of `medzsad run` with its default. Each key is also a command-line flag."]
    lines += ["# medzsad run SCANS -o OUT --config configs/run.yaml", ""]
    defaults = RunConfig().model_dump(mode="json")
    for key, field in RunConfig.model_fields.items():
        lines += textwrap.wrap(field.description or "", width=118, initial_indent="# ", subsequent_indent="# ")
        lines.append(yaml.safe_dump({key: defaults[key]}).rstrip())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # `python -m medzsad.config > configs/run.yaml`
    sys.stdout.write(run_yaml())
