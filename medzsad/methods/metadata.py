"""What a weights file says about itself: one JSON object in the safetensors header."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from medzsad.clip.spec import TowerSpec
from medzsad.errors import ConfigError, WeightsError

FORMAT_VERSION = 1
HEADER_KEY = "medzsad"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsMetadata:
    """Description of a weights file.

    Attributes:
        name: Name of the weights.
        spec: What they ask of the tower.
        clip_name: Name of the tower.
        sizes: Arguments of the method's module; `save_weights` fills them in.
        clip_config: open_clip model config of the tower inside the file; empty where the file holds prompts only.
        clip_sha256: Of the tower's file; empty where the tower is inside.
        method: Name of the method.
        stage: Training stage whose image head is used.
        samples: Prompt samples per image.
        class_name: Word for the object in the prompts, if the user gives none.
        threshold: Score from which a pixel counts as lesion; None where none is known.
        threshold_provenance: How it was found.
        licence: Of the weights.
        source: Where they come from.
        source_sha256: Of the file that they were imported from; empty where they were trained here.
        trained_on: Data that they were trained on.
        description: A sentence for reports.
        provenance: Of weights trained here: options, data digest and counts, tower, versions, best epochs and figures.
        format_version: Of this record.
    """

    name: str
    spec: TowerSpec
    clip_name: str
    sizes: dict[str, int] = field(default_factory=dict)
    clip_config: dict[str, Any] = field(default_factory=dict)
    clip_sha256: str = ""
    method: str = "bayes_pfl"
    stage: int = 2
    samples: int = 10
    class_name: str = "object"
    threshold: float | None = None
    threshold_provenance: str = ""
    licence: str = ""
    source: str = ""
    source_sha256: str = ""
    trained_on: str = ""
    description: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """As JSON, keys sorted."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)


def metadata_from_json(text: str) -> WeightsMetadata:
    """The record of `WeightsMetadata.to_json`.

    Raises:
        WeightsError: It is damaged or of a newer format.
    """
    try:
        fields = json.loads(text)
        if fields["format_version"] > FORMAT_VERSION:
            raise WeightsError(
                f"The weights are of format {fields['format_version']}, this medzsad reads up to {FORMAT_VERSION}. "
                "Update medzsad."
            )
        spec = fields.pop("spec")
        return WeightsMetadata(spec=TowerSpec(**(spec | {"layers": tuple(spec["layers"])})), **fields)
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"The description inside the weights is damaged: {error}") from error


def read_metadata(path: Path) -> WeightsMetadata:
    """The description inside a weights file; no tensor is loaded.

    Raises:
        WeightsError: There is no such file, or it is no weights file of medzsad.
    """
    header = _read_header(path)
    if HEADER_KEY not in header:
        raise WeightsError(
            f"{path.name} is not a weights file of medzsad. Authors' files are imported with `medzsad weights import`."
        )
    return metadata_from_json(header[HEADER_KEY])


def is_weights_file(path: Path) -> bool:
    """Whether a safetensors file is one of medzsad's.

    Raises:
        WeightsError: There is no such file, or it is no safetensors file.
    """
    return HEADER_KEY in _read_header(path)


def _read_header(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path.name} is not a readable safetensors file ({error}). "
            "Authors' files are imported with `medzsad weights import`."
        ) from error
