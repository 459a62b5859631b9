"""Which weights there are, where their files lie, and whether they are what they should be."""

import difflib
import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import try_to_load_from_cache
from open_clip.pretrained import get_pretrained_cfg

from medzsad.errors import WeightsError

Kind = Literal["embedded", "prompts", "clip"]
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsEntry:
    """Weights known by name.

    Attributes:
        name: Name on the command line.
        kind: `embedded` comes with the package, `prompts` need a CLIP tower, `clip` is one.
        file: Name of the installed file.
        licence: Of the weights.
        source: Where they come from.
        description: A sentence for lists and reports.
        original: Name of the authors' file that is imported; empty where nothing is imported.
        google_drive: Its id; empty where it does not come from there.
        open_clip: Pretrained tag of open_clip; empty where it does not come from there.
        size_bytes: Of the downloaded file; None where not known.
        sha256: Of the downloaded file; empty where not known.
        clip: Name of the tower that prompts need.
        trained_on: Data that the prompts were trained on.
    """

    name: str
    kind: Kind
    file: str
    licence: str
    source: str
    description: str
    original: str = ""
    google_drive: str = ""
    open_clip: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    clip: str = ""
    trained_on: str = ""

    @property
    def status(self) -> str:
        """`embedded`, `installed` or `not installed`."""
        if not weights_path(self.name).is_file():
            return "not installed"
        return "embedded" if self.kind == "embedded" else "installed"

    def record(self) -> dict[str, Any]:
        """Name, kind, status, path, licence, source and description as plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "path": str(weights_path(self.name)),
            "licence": self.licence,
            "source": self.source,
            "description": self.description,
        }


def list_weights() -> tuple[WeightsEntry, ...]:
    """All weights known by name, the embedded ones first."""
    manifest = yaml.safe_load(_asset("weights.yaml").read_text(encoding="utf-8"))
    return tuple(WeightsEntry(name=name, **fields) for name, fields in manifest.items())


def find_entry(name: str) -> WeightsEntry:
    """The weights called `name`.

    Raises:
        WeightsError: There are none; the message names the nearest.
    """
    entries = {entry.name: entry for entry in list_weights()}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(entries)}."
    raise WeightsError(f"There is no file and there are no weights called {name!r}. {hint}")


def cache_dir() -> Path:
    """The folder of fetched and imported weights: MEDZSAD_WEIGHTS, else ~/.cache/medzsad (XDG_CACHE_HOME counts)."""
    if chosen := os.environ.get("MEDZSAD_WEIGHTS"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medzsad"


def weights_path(name: str) -> Path:
    """Where the file of the weights called `name` lies, or would lie once fetched.

    Raises:
        WeightsError: There are no weights of this name.
    """
    entry = find_entry(name)
    return _asset(entry.file) if entry.kind == "embedded" else cache_dir() / entry.file


def _asset(file: str) -> Path:
    return Path(str(files("medzsad"))) / "assets" / file


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_download(entry: WeightsEntry, path: Path) -> str:
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


def find_tower(weights: Path | str) -> Path:
    """The file of a CLIP tower.

    Args:
        weights: A file, or MODEL or MODEL/TAG of open_clip, looked up in the caches; the tag is `openai` if left out.

    Raises:
        WeightsError: It is nowhere; the message says how to get it.
    """
    if Path(weights).is_file():
        return Path(weights)
    if isinstance(weights, Path):
        raise WeightsError(f"There is no file {weights} with a CLIP tower.")
    model, _, tag = weights.partition("/")
    config = get_pretrained_cfg(model, tag or "openai")
    for path in _cached_towers(model, tag or "openai", config):
        if path.is_file():
            return path
    known = {entry.name for entry in list_weights() if entry.kind == "clip"}
    if model in known:
        raise WeightsError(
            f"The CLIP tower {model} is not on this computer. Get it with `medzsad weights fetch {model}`, "
            "or name its file with --clip-weights."
        )
    raise WeightsError(
        f"There is no CLIP tower {weights!r} in the caches of this computer. Name its file with --clip-weights; "
        "open_clip models are written MODEL/TAG, such as ViT-L-14-336/openai."
    )


def _cached_towers(model: str, tag: str, config: dict[str, Any]) -> list[Path]:
    found = [cache_dir() / entry.file for entry in list_weights() if (entry.name, entry.open_clip) == (model, tag)]
    if url := config.get("url"):
        name = str(url).rsplit("/", maxsplit=1)[-1]
        found += [cache_dir() / name, Path.home() / ".cache" / "clip" / name]
    if hub := config.get("hf_hub"):
        repository, _, file = str(hub).rpartition("/")
        for name in (file,) if file else _HUB_FILES:
            cached = try_to_load_from_cache(repository, name)
            if isinstance(cached, str):
                found.append(Path(cached))
    return found
