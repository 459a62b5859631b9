"""What weights say about themselves: one JSON object in the header of a weights file, and the same in every report."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from medzsad.clip.spec import TowerSpec
from medzsad.errors import ConfigError, WeightsError

FORMAT_VERSION = 2
HEADER_KEY = "medzsad"


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
        threshold: Score from which a pixel counts as lesion; None where none is known.
        threshold_provenance: How it was found.
        license: Of the weights.
        source: Where they come from.
        trained_on: Data that they were trained on.
        description: A sentence for reports.
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
    threshold: float | None = None
    threshold_provenance: str = ""
    license: str = ""
    source: str = ""
    trained_on: str = ""
    description: str = ""
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
        """As JSON, keys sorted, without the digest of the file."""
        return json.dumps(self.model_dump(mode="json", exclude={"sha256"}), sort_keys=True, ensure_ascii=False)


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
