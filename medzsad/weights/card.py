"""What weights say about themselves: one JSON object in the header of a weights file, and the same in every report."""

import json
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from medzsad.clip.spec import TowerSpec
from medzsad.config import AirRule, Planes, Sensitivity, SigmaMm
from medzsad.errors import ConfigError, WeightsError

FORMAT_VERSION = 2
HEADER_KEY = "medzsad"


class ContextCard(BaseModel):
    """What surrounds a slice, as far as it takes part in the scores; the defaults are single slices as they are.

    Attributes:
        planes: Whether the other two planes are scored as well, where voxels allow.
        smooth_axis_mm: Standard deviation of the Gaussian along the slicing axis, in millimeters; 0 for none.
        air: Whether scores in the air around the body are set to 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    planes: Planes = "acquisition"
    smooth_axis_mm: SigmaMm = 0.0
    air: AirRule = "score"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DecisionLevel(_Part):
    """One level of sensitivity.

    Attributes:
        evidence: A candidate with at least this evidence is a lesion; None where every candidate is one.
        share: Share of the healthy scans of the calibration that are called `lesion` so.
    """

    evidence: float | None
    share: float = Field(ge=0.0, le=1.0)


class OperatingPoint(_Part):
    """What one cut-off does to the scans of the calibration.

    Attributes:
        evidence: The cut-off.
        level: The level whose cut-off it is; None for points between.
        false_lesions_per_scan: Mean number of lesions marked in a healthy scan.
        found_by_size: Lesions found per bin of `OperatingCurve.size_from`.
        found_by_contrast: The same per bin of `OperatingCurve.contrast_from`.
    """

    evidence: float
    level: Sensitivity | None = None
    false_lesions_per_scan: float = Field(ge=0.0)
    found_by_size: tuple[int, ...]
    found_by_contrast: tuple[int, ...]


class OperatingCurve(_Part):
    """How many lesions are found, against how many are marked in healthy scans.

    Attributes:
        size_unit: "mm3", or "share" (of all pixels) for pictures.
        size_from: Where each bin of size begins; the last has no end.
        contrast_from: The same for contrast, in robust standard deviations of the foreground.
        lesions_by_size: Lesions per bin, found or not.
        lesions_by_contrast: The same.
        points: By rising cut-off.
    """

    size_unit: Literal["mm3", "share"]
    size_from: tuple[float, ...]
    contrast_from: tuple[float, ...]
    lesions_by_size: tuple[int, ...]
    lesions_by_contrast: tuple[int, ...]
    points: tuple[OperatingPoint, ...]


class DecisionCard(_Part):
    """How candidates become lesions, fitted on scans with known lesions and healthy ones; see medzsad.volume.decision.

    Attributes:
        features: Names, from `medzsad.volume.candidates.FEATURES`.
        mean: Of each feature among the candidates of the fit.
        scale: Their standard deviations.
        coefficients: Of the standardized features.
        intercept: Added to their weighted sum, which gives the evidence.
        voxel_threshold: Score from which a voxel belongs to a candidate.
        levels: Cut-off of each level.
        false_per_volume: (evidence, share of the healthy scans with a candidate of at least this evidence), by rising
            evidence; empty where no healthy scan has a candidate.
        probability: Slope and intercept of the logistic curve from evidence to the probability that a candidate of the
            calibration scans is a lesion.
        operating: Measured on the calibration scans.
        healthy_scans: Healthy scans of the calibration.
        lesion_scans: Its scans with lesions.
        provenance: A sentence on data and criteria.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    voxel_threshold: float = Field(ge=0.0, le=1.0)
    levels: dict[Sensitivity, DecisionLevel]
    false_per_volume: tuple[tuple[float, float], ...]
    probability: tuple[float, float]
    operating: OperatingCurve
    healthy_scans: int = Field(ge=1)
    lesion_scans: int = Field(ge=0)
    provenance: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lengths = {len(part) for part in (self.features, self.mean, self.scale, self.coefficients)}
        if len(lengths) != 1 or min(self.scale, default=1.0) <= 0.0:
            raise ValueError("the decision needs one mean, one positive scale and one coefficient per feature")
        if set(self.levels) != set(get_args(Sensitivity)):
            raise ValueError(f"the decision needs the levels {', '.join(get_args(Sensitivity))}")
        evidence, share = ([row[column] for row in self.false_per_volume] for column in (0, 1))
        if evidence != sorted(evidence) or share != sorted(share, reverse=True):
            raise ValueError("the table of false lesions of the decision must be monotone")
        return self


class Decisions(_Part):
    """The decisions of weights, for volumes and for pictures; where one is missing, every candidate is a lesion."""

    volumes: DecisionCard | None = None
    pictures: DecisionCard | None = None


class ModelCard(BaseModel):
    """What people are told about weights, in lists and in every report.

    Attributes:
        name: Name of the weights.
        method: Name of the method, as `medzsad.methods.registry` knows it.
        options: How the method uses them, such as the training stage whose image head is read.
        samples: Prompt samples per image; 1 where nothing is sampled.
        class_name: Word for the object in the prompts, if the user gives none; "" where none takes part.
        clip_name: Name of the tower.
        clip_sha256: Of the tower's file; in a weights file empty where the tower is inside.
        guide_sha256: Of the file of the backbone that guides local features; empty where none does. Never stored.
        threshold: Score from which a pixel counts as lesion; None where none is known.
        threshold_provenance: How it was found.
        normal_scores: Rising (score, share) pairs: on normal images of the calibration at most this share of the pixels
            reaches the score; empty where none are known.
        decision: How candidates become lesions; None where every one of them is one.
        license: Of the weights.
        source: Where they come from.
        trained_on: Data that they were trained on.
        description: A sentence for reports.
        context: The context that the threshold was found with, which runs take by default; None for none.
        sha256: Of the file, known once it is loaded; never stored in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    method: str = "bayes_pfl"
    options: dict[str, Any] = Field(default_factory=dict)
    samples: int = 10
    class_name: str = "object"
    clip_name: str = ""
    clip_sha256: str = ""
    guide_sha256: str = ""
    threshold: float | None = None
    threshold_provenance: str = ""
    normal_scores: tuple[tuple[float, float], ...] = ()
    decision: Decisions | None = None
    license: str = ""
    source: str = ""
    trained_on: str = ""
    description: str = ""
    context: ContextCard | None = None
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not {"licence", "stage"} & set(values):
            return values
        values = dict(values)
        values.setdefault("license", values.pop("licence", ""))
        stage = values.pop("stage", None)
        return values if stage is None else {**values, "options": {"stage": stage}}


class WeightsCard(ModelCard):
    """Description of weights as their file holds it: what people are told, and what loading needs.

    Attributes:
        format_version: Of this record; version 1 is read as well.
        spec: What the weights ask of the tower.
        sizes: Arguments of the method's module.
        clip_config: open_clip model config of the tower inside the file; empty where the file holds prompts only.
        source_sha256: Of the file that they were imported from; empty where they were trained here.
        provenance: Of weights trained here: options, data digest and counts, tower, versions, best epochs and metrics.
        content_sha256: Of this record and all tensors, stored in the file to find damage; empty in version 1.
    """

    format_version: int = FORMAT_VERSION
    spec: TowerSpec
    sizes: dict[str, int] = Field(default_factory=dict)
    clip_config: dict[str, Any] = Field(default_factory=dict)
    source_sha256: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)
    content_sha256: str = ""

    def told(self, class_name: str | None = None) -> ModelCard:
        """What reports say; `class_name` is the word in the prompts, None takes that of the weights."""
        fields = {name: getattr(self, name) for name in ModelCard.model_fields}
        return ModelCard(**(fields | {"class_name": self.class_name if class_name is None else class_name}))

    def to_json(self) -> str:
        """As JSON, keys sorted, without the digests of the file and of a guide."""
        # What is not there is left out, so that the digests of files made before there was any still hold.
        left_out = {"sha256", "guide_sha256"}
        left_out |= {name for name in ("context", "decision", "normal_scores") if not getattr(self, name)}
        fields = self.model_dump(mode="json", exclude=left_out)
        if not self.spec.window:
            for name in ("window", "window_blocks"):
                del fields["spec"][name]
        return json.dumps(fields, sort_keys=True, ensure_ascii=False)


def card_from_json(text: str) -> WeightsCard:
    """The record of `WeightsCard.to_json`.

    Raises:
        WeightsError: It is damaged or of a newer format.
    """
    try:
        fields = json.loads(text)
        version = int(fields["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"The description inside the weights is damaged: {error}.") from error
    if version > FORMAT_VERSION:
        raise WeightsError(
            f"The weights are of format {version}, this medzsad reads up to {FORMAT_VERSION}. Update medzsad."
        )
    try:
        return WeightsCard.model_validate(fields)
    except (ValidationError, ConfigError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise WeightsError(f"The description inside the weights is damaged: {reason}.") from error


def read_card(path: Path) -> WeightsCard:
    """The description inside a weights file; no tensor is loaded.

    Raises:
        WeightsError: There is no such file, or it is not a weights file of medzsad.
    """
    header = _read_header(path)
    if HEADER_KEY not in header:
        raise WeightsError(
            f"{path.name} is not a weights file of medzsad. Authors' files are imported with `medzsad weights import`."
        )
    return card_from_json(header[HEADER_KEY])


def is_weights_file(path: Path) -> bool:
    """Whether a safetensors file is one of medzsad's.

    Raises:
        WeightsError: There is no such file, or it is not a safetensors file.
    """
    return HEADER_KEY in _read_header(path)


def _read_header(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    try:
        with safe_open(path, "np") as file:  # for its header alone, which needs no torch
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path.name} is not a readable safetensors file ({error}). "
            "Authors' files are imported with `medzsad weights import`."
        ) from error
