"""What case.json and report.json hold, as pydantic models; the JSON schema in the assets is made from them.

Numbers are rounded on the way in, so that the same result gives the same bytes; none of them is ever NaN or infinite.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from medzsad.config import Sensitivity
from medzsad.drawing.panels import Plane
from medzsad.scan.records import SourceKind
from medzsad.volume.records import Outcome
from medzsad.weights.card import ModelCard

SCHEMA_VERSION: Literal["2.1"] = "2.1"
# Records of 2.0 are read as well; they lack what 2.1 added.
ReadVersion = Literal["2.0", "2.1"]
NOTICE = "Research use, not a medical device."


def plain_value(value: Any) -> Any:
    """The value as JSON can hold it: paths as text, tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(entry) for entry in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


def _near_unit(value: Any) -> Any:
    # float32 arithmetic may leave the unit interval by a rounding error; anything further is a mistake.
    return min(max(value, 0.0), 1.0) if isinstance(value, float) and -1e-6 <= value <= 1 + 1e-6 else value


# Adding 0.0 turns -0.0 into 0.0, which would read oddly.
Score = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False),
    BeforeValidator(_near_unit),
    AfterValidator(lambda value: round(value, 6)),
]
Millimeters = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda value: round(value, 3) + 0.0)]
Precise = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda value: float(f"{value:.9g}") + 0.0)]
PlainDict = Annotated[dict[str, Any], BeforeValidator(plain_value)]
Position = tuple[Millimeters, Millimeters, Millimeters]
Range = tuple[int, int]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CalibrationRecord(_Record):
    """The calibration on normal scans of a site's own that a run used; see `medzsad.run.site_file`.

    Attributes:
        sha256: Of its content.
        unit: What the cut-offs are compared with: the evidence of a candidate, or the score of a voxel.
        count: Number of scans.
        scans_sha256: Over the sorted digests of their content.
        levels: Cut-off of each level; null where every candidate is a lesion.
        warning: Why few scans say little, or "".
    """

    sha256: Sha256
    unit: Literal["evidence", "score"]
    count: int
    scans_sha256: Sha256
    levels: dict[Sensitivity, Precise | None]
    warning: str = ""


class RunManifest(_Record):
    """What a run was made with: program, model, device, libraries, and the resolved configuration.

    Attributes:
        medzsad_version: Version of the program.
        model: The model.
        device: Where it ran.
        precision: Its arithmetic.
        threads: Processor threads of the model in each process; another number changes scores by rounding.
        config: The resolved options.
        versions: Of Python and of the packages that results depend on.
        calibration: That of a site's own normal scans; null where none was used.
    """

    medzsad_version: str
    model: ModelCard
    device: str
    precision: str
    threads: int | None = None
    config: PlainDict = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    calibration: CalibrationRecord | None = None


class ModelReference(_Record):
    """The model in short, as each case names it."""

    name: str
    sha256: str


class InputRecord(_Record):
    """What was read; nothing of it comes from tags about the patient.

    Attributes:
        kind: Format family.
        label: Place relative to what was asked for.
        content_sha256: Digest of the bytes of all its files; "" if they could not be read.
        series_uid_sha256_10: First ten hex digits of the sha256 of the SeriesInstanceUID.
        frame: Index along the fourth axis, if one was chosen.
        modality: As the file says; "" where it does not.
        description: SeriesDescription, for DICOM, where it does not name the patient; else "".
        shape: Voxels along (i, j, k); null if the scan was not read.
        spacing_mm: Distance between voxel centers along (i, j, k); null where nobody measured it (photographs).
        affine_ras: Voxel index (i, j, k, 1) to position in millimeters, RAS+; null as above.
        slice_axis: Array axis (0, 1, 2) along which it was sliced.
        plane: Anatomical name of the slices; null as above.
    """

    kind: SourceKind
    label: str
    content_sha256: str = ""
    series_uid_sha256_10: str | None = None
    frame: int | None = None
    modality: str = ""
    description: str = ""
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[Precise, Precise, Precise] | None = None
    affine_ras: tuple[tuple[Precise, Precise, Precise, Precise], ...] | None = None
    slice_axis: int | None = None
    plane: Plane | None = None


class LesionRecord(_Record):
    """One connected component of the mask; see `medzsad.volume.records.Lesion` for units and frames.

    What is measured in millimeters is null for a scan without a physical space. SOPInstanceUIDs are given with
    --with-uids only. `probability` and `healthy_share` are null where nothing was decided per lesion.
    """

    index: int
    voxel_count: int
    volume_mm3: Millimeters | None
    max_score: Score
    mean_score: Score
    mean_spread: Precise | None
    centroid_index: Position
    centroid_lps_mm: Position | None
    centroid_ras_mm: Position | None
    bounding_box: tuple[Range, Range, Range]
    slice_axis: int
    slice_first: int
    slice_last: int
    instance_first: int | None = None
    instance_last: int | None = None
    sop_instance_uids: tuple[str, ...] = ()
    probability: Score | None = None
    healthy_share: Score | None = None


class DecisionRecord(_Record):
    """How the candidates of a case became lesions; see `medzsad.volume.records.DecisionTaken`."""

    sensitivity: Sensitivity
    source: Literal["weights", "site"]
    unit: Literal["evidence", "score"]
    cutoff: Precise | None
    healthy_scans: int
    share: Score
    dropped: int


class SliceRecord(_Record):
    """The scores of one slice along the slicing axis; a slice without tissue is not scored and has score 0."""

    index: int
    scored: bool
    image_score: Score
    max_score: Score


class CaseSummary(_Record):
    """One case as report.json lists it.

    Attributes:
        schema_version: Of this record.
        medzsad_version: Version of the program that computed the case, perhaps in an earlier run.
        name: Name of the case and of its folder.
        key: Identifies input, options and weights.
        outcome: How it ended.
        code: Reason code of a refusal.
        message: Why it was refused or failed.
        input: What was read.
        window: Which values became black and white.
        threshold: Score from which a voxel belongs to the mask.
        threshold_provenance: Who chose the threshold.
        decision: How candidates became lesions; null where every component of the mask is one.
        max_score: The highest score of all voxels.
        model: The model.
        seed: Of the prompt samples.
        lesions: Connected components of the mask.
        notes: What was done to read or score it.
        warnings: What may make the scores meaningless.
        files: Files of the case with their sha256.
    """

    schema_version: ReadVersion = SCHEMA_VERSION
    medzsad_version: str
    name: str
    key: str
    outcome: Outcome
    code: str | None = None
    message: str = ""
    input: InputRecord
    window: PlainDict = Field(default_factory=dict)
    threshold: Precise | None = None
    threshold_provenance: str = ""
    decision: DecisionRecord | None = None
    max_score: Score | None = None
    model: ModelReference
    seed: int
    lesions: tuple[LesionRecord, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: dict[str, Sha256] = Field(default_factory=dict)


class CaseRecord(CaseSummary):
    """One case as its case.json holds it: the summary, and the score of every slice."""

    slices: tuple[SliceRecord, ...] = ()

    def summary(self) -> CaseSummary:
        """The case without its slices."""
        return CaseSummary.model_validate(self.model_dump(exclude={"slices"}))


class IncompleteCase(_Record):
    """A case whose folder holds no usable result, and why."""

    name: str
    problem: str


class RunReport(_Record):
    """report.json: the run, how many cases ended in which outcome, and all cases in the folder, by name."""

    schema_version: Literal["2.1"] = SCHEMA_VERSION
    notice: str = NOTICE
    manifest: RunManifest
    counts: dict[Outcome, int]
    cases: tuple[CaseSummary, ...]
    incomplete: tuple[IncompleteCase, ...] = ()


def report_schema() -> dict[str, Any]:
    """The JSON schema of report.json; `#/$defs/CaseRecord` in it is the one of case.json."""
    _, definitions = models_json_schema(
        [(RunReport, "serialization"), (CaseRecord, "serialization")], ref_template="#/$defs/{model}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"medzsad report {SCHEMA_VERSION}",
        "$ref": "#/$defs/RunReport",
        "$defs": definitions["$defs"],
    }


def json_text(content: BaseModel | dict[str, Any]) -> str:
    """The content as indented JSON that ends in a line feed; keys stand in the order of the models.

    Raises:
        ValueError: A number is not finite.
    """
    values = content.model_dump(mode="json") if isinstance(content, BaseModel) else content
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
