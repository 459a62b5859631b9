"""The weights that are known by name: what they are, where they are obtained, and where their files lie.

Nothing here loads a model, so that listing weights takes no time.
"""

import difflib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from platformdirs import user_cache_path

from medzsad.errors import WeightsError
from medzsad.files import file_sha256

Kind = Literal["embedded", "prompts", "clip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Weights known by name.

    Attributes:
        name: Name on the command line.
        kind: `embedded` comes with the package, `prompts` need a CLIP tower, `clip` is one.
        file: Name of the installed file.
        license: Of the weights.
        source: Where they come from.
        description: A sentence for lists and reports.
        method: That prompts are of; empty for a CLIP tower.
        original: Name of the authors' file that is imported, with its folder where the name alone tells nothing; empty
            where nothing is imported.
        url: Its address; empty where it comes from elsewhere.
        google_drive: Its id; empty where it does not come from there.
        open_clip: Pretrained tag of open_clip; empty where it does not come from there.
        size_bytes: Of the downloaded file; None where not known.
        sha256: Of the downloaded file; empty where not known.
        clip: Name of the tower that prompts need.
        trained_on: Data that the prompts were trained on.
        guide: Second backbone that they were learned beside; empty where there was none.
    """

    name: str
    kind: Kind
    file: str
    license: str
    source: str
    description: str
    method: str = ""
    original: str = ""
    url: str = ""
    google_drive: str = ""
    open_clip: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    clip: str = ""
    trained_on: str = ""
    guide: str = ""

    @property
    def status(self) -> str:
        """`embedded`, `installed` or `not installed`."""
        if not weights_path(self.name).is_file():
            return "not installed"
        return "embedded" if self.kind == "embedded" else "installed"

    def record(self) -> dict[str, Any]:
        """Name, kind, status, path, license, source and description as plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "path": str(weights_path(self.name)),
            "license": self.license,
            "source": self.source,
            "description": self.description,
        }


def list_releases() -> tuple[Release, ...]:
    """All weights known by name, the embedded ones first."""
    manifest = yaml.safe_load(_asset("weights.yaml").read_text(encoding="utf-8"))
    return tuple(Release(name=name, **fields) for name, fields in manifest.items())


def find_release(name: str) -> Release:
    """The weights called `name`.

    Raises:
        WeightsError: There are none; the message names the nearest.
    """
    entries = {entry.name: entry for entry in list_releases()}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(entries)}."
    raise WeightsError(f"There is no file and there are no weights called {name!r}. {hint}")


def cache_dir() -> Path:
    """The folder of fetched and imported weights: MEDZSAD_WEIGHTS, else the user's cache folder for medzsad."""
    if chosen := os.environ.get("MEDZSAD_WEIGHTS"):
        return Path(chosen)
    return user_cache_path("medzsad", appauthor=False)


def weights_path(name: str) -> Path:
    """Where the file of the weights called `name` lies, or would lie once fetched.

    Raises:
        WeightsError: There are no weights of this name.
    """
    entry = find_release(name)
    return _asset(entry.file) if entry.kind == "embedded" else cache_dir() / entry.file


def _asset(file: str) -> Path:
    return Path(str(files("medzsad"))) / "assets" / file


def check_download(entry: Release, path: Path) -> str:
    """The sha256 of a downloaded file that is what the manifest says.

    Raises:
        WeightsError: Its size or its sha256 is another.
    """
    size = path.stat().st_size
    if entry.size_bytes is not None and size != entry.size_bytes:
        raise WeightsError(f"{path.name} has {size} bytes, {entry.name} has {entry.size_bytes}. Fetch it again.")
    found = file_sha256(path)
    if entry.sha256 and found != entry.sha256:
        raise WeightsError(f"{path.name} has sha256 {found}, {entry.name} has {entry.sha256}. Fetch it again.")
    return found
