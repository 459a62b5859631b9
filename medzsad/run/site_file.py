"""What `medzsad calibrate` writes and `medzsad run --calibration` reads: a site's own normal scans, as cut-offs."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medzsad.config import Sensitivity
from medzsad.errors import ConfigError
from medzsad.volume.cutoffs import LEVELS

FORMAT_VERSION = 1
FEWEST_SCANS = 20

Kind = Literal["volumes", "pictures"]
Unit = Literal["evidence", "score"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiteLevel(_Part):
    """A cut-off; see `medzsad.volume.cutoffs.Cutoff`."""

    cutoff: float | None
    share: float = Field(ge=0.0, le=1.0)
    supported: float = Field(ge=0.0, le=1.0)


class SiteCalibration(_Part):
    """The cut-offs of a site's own normal scans; holds no date, no name, no path and no pixel.

    Attributes:
        format_version: Of this record.
        medzsad_version: Version of the program that made it.
        kind: Whether the scans are volumes or pictures.
        unit: "evidence" of candidates where the weights decide per lesion, else the highest "score" of a voxel.
        count: Number of scans.
        scans_sha256: Over the sorted digests of their content.
        weights_sha256: Of the weights file.
        clip_sha256: Of its tower.
        guide_sha256: Of the backbone that guided its features; empty where none did, and then not written.
        options: The options that change scores.
        highest: Of each scan with a candidate the highest evidence or score, sorted.
        without_candidate: Number of scans without any.
        levels: Cut-off of each level.
        warning: Why few scans say little; "" where there are enough.
    """

    format_version: Literal[1] = 1
    medzsad_version: str
    kind: Kind
    unit: Unit
    count: int = Field(ge=1)
    scans_sha256: str
    weights_sha256: str
    clip_sha256: str
    guide_sha256: str = ""
    options: dict[str, Any]
    highest: tuple[float, ...]
    without_candidate: int = Field(ge=0)
    levels: dict[Sensitivity, SiteLevel]
    warning: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "SiteCalibration":
        if len(self.highest) + self.without_candidate != self.count:
            raise ValueError("count is not the number of scans that are listed")
        if set(self.levels) != set(LEVELS):
            raise ValueError(f"the levels are not {', '.join(LEVELS)}")
        return self

    @property
    def digest(self) -> str:
        """The sha256 (hex) of the record, wherever the file lies and however it is laid out."""
        return hashlib.sha256(json.dumps(self._values(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The content of the file."""
        return json.dumps(self._values(), indent=1) + "\n"

    def _values(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=set() if self.guide_sha256 else {"guide_sha256"})

    @property
    def weights(self) -> tuple[str, str, str]:
        """Digests of weights, tower and guide."""
        return self.weights_sha256, self.clip_sha256, self.guide_sha256

    def all_highest(self) -> tuple[float | None, ...]:
        """One entry per scan; None for those without candidate."""
        return (*self.highest, *(None,) * self.without_candidate)


def read_site(path: Path) -> SiteCalibration:
    """The calibration in a file.

    Raises:
        ConfigError: The file cannot be read, or is none of `medzsad calibrate`.
    """
    again = "Make one with `medzsad calibrate HEALTHY_SCANS -o site.json`."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The calibration {path} cannot be read ({error.strerror or error}). {again}") from None
    except ValueError:
        raise ConfigError(f"The calibration {path} is not JSON. {again}") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConfigError(
            f"The calibration {path} is of format {version}, this medzsad reads up to {FORMAT_VERSION}. Update medzsad."
        )
    try:
        return SiteCalibration.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path} is no calibration ({place}: {first['msg']}). {again}") from None


def few_scans_warning(count: int) -> str:
    """Why a calibration of so few scans says little; "" where there are enough."""
    if count >= FEWEST_SCANS:
        return ""
    scans = "1 normal scan" if count == 1 else f"{count} normal scans"
    return (
        f"The calibration rests on {scans}, fewer than the {FEWEST_SCANS} that are advised: shares of healthy scans "
        f"below {1 / (count + 1):.0%} cannot be told with them."
    )
