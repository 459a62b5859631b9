"""Weights brought onto this computer: downloaded, verified, imported."""

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from medzsad.clip.load import infer_model_config
from medzsad.clip.states import read_tower_state
from medzsad.clip.weights import (
    WeightsEntry,
    cache_dir,
    check_download,
    file_sha256,
    find_entry,
    list_weights,
    weights_path,
)
from medzsad.errors import WeightsError
from medzsad.methods.importers import import_bayes_pfl, read_official, translate
from medzsad.methods.load import load_detector, read_prompts
from medzsad.methods.metadata import is_weights_file


@dataclass(frozen=True, slots=True)
class Verification:
    """What is known about a weights file that was found to be whole.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        size_bytes: Its size.
        verdict: One sentence.
    """

    path: Path
    sha256: str
    size_bytes: int
    verdict: str


def fetch_weights(name: str, folder: Path | None = None) -> Path:
    """The installed file of the weights called `name`, downloaded, verified and imported if need be.

    Args:
        name: From `list_weights`.
        folder: Where to; None takes the cache folder, where the other commands look for weights.

    Raises:
        WeightsError: There are no such weights, the download failed, or what came is not what it should be; nothing is
            installed then.
    """
    entry = find_entry(name)
    target = weights_path(name) if folder is None or entry.kind == "embedded" else folder / entry.file
    if target.is_file():
        verify_weights(target)
        return target
    if entry.kind == "embedded":
        raise WeightsError(f"The weights {name} come with medzsad but are missing; install medzsad again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as partial:
        downloaded = _download(entry, Path(partial))
        check_download(entry, downloaded)
        if entry.kind == "prompts":
            import_bayes_pfl(downloaded, target, entry.name)
        else:
            downloaded.replace(target)
    return target


def _download(entry: WeightsEntry, folder: Path) -> Path:
    try:
        path = _from_google_drive(entry, folder) if entry.google_drive else _from_open_clip(entry, folder)
    except (OSError, RuntimeError) as error:  # what urllib, requests and both libraries raise derives from these
        raise WeightsError(
            f"The weights {entry.name} could not be downloaded ({_sentence(error)}). Is this computer online? "
            f"A file from elsewhere is installed with `medzsad weights import`, a CLIP tower named with --clip-weights."
        ) from error
    if not path.is_file():
        raise WeightsError(f"The download of the weights {entry.name} gave no file. Try again later.")
    return path


def _from_google_drive(entry: WeightsEntry, folder: Path) -> Path:
    try:
        gdown = importlib.import_module("gdown")  # an optional dependency
    except ImportError as error:
        raise WeightsError("Fetching these weights needs gdown: pip install 'medzsad[fetch]'.") from error
    path = folder / entry.original
    # gdown 5 raises the latter only, which from version 6 on is a special case of the former.
    failure = getattr(gdown.exceptions, "DownloadError", gdown.exceptions.FileURLRetrievalError)
    try:
        gdown.download(id=entry.google_drive, output=str(path), quiet=True)
    except failure as error:
        raise OSError(_sentence(error)) from error
    return path


def _from_open_clip(entry: WeightsEntry, folder: Path) -> Path:
    config = get_pretrained_cfg(entry.name, entry.open_clip)
    return Path(download_pretrained(config, prefer_hf_hub=False, cache_dir=str(folder)))


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def verify_weights(weights: str | Path) -> Verification:
    """What is known about weights given by name or file, after reading all of it.

    Args:
        weights: Name, weights file of medzsad, authors' file, or file of a CLIP tower.

    Raises:
        WeightsError: The file is missing, damaged, of another method, or not what its name says.
    """
    path = Path(weights) if Path(weights).is_file() or isinstance(weights, Path) else weights_path(weights)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Known weights come with `medzsad weights fetch NAME`.")
    size, sha256 = path.stat().st_size, file_sha256(path)
    for entry in list_weights():
        if entry.sha256 == sha256:
            return Verification(path, sha256, size, f"This is {entry.original or entry.file}, as published.")
    for entry in list_weights():
        if path.name == entry.original or (entry.kind == "clip" and path.name == entry.file):
            check_download(entry, path)
    return Verification(path, sha256, size, _content_verdict(path))


def _content_verdict(path: Path) -> str:
    if path.suffix == ".pth":
        translate(read_official(path))
        return "Weights of Bayes-PFL in the authors' format, complete; none of the published files."
    if path.suffix == ".safetensors" and is_weights_file(path):
        prompts, metadata = read_prompts(path)
        if metadata.clip_config:
            load_detector(path)  # checks the tower inside
        origin = next((entry for entry in list_weights() if entry.sha256 == metadata.source_sha256), None)
        made = f", imported from {origin.original} as published" if metadata.source_sha256 and origin else ""
        numbers = sum(value.numel() for value in prompts.parameters())
        return f"Weights of {metadata.method} called {metadata.name}{made}: complete, {numbers} numbers, all finite."
    infer_model_config(read_tower_state(path))
    return "A CLIP tower with a vision transformer; none of the published files."


def import_weights(path: Path, name: str = "", *, stage: int | None = None, folder: Path | None = None) -> Path:
    """The installed file made from the authors' file `path`.

    Args:
        path: `train_visa.pth`, `train_mvtec.pth`, or a file of the same structure.
        name: Name of the weights; empty takes that of the published weights, or the file's own name.
        stage: 1 or 2; None follows the authors' rule.
        folder: Where to; None takes the cache folder.

    Raises:
        WeightsError: It is another file; nothing is installed.
    """
    folder = folder or cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        draft = Path(partial) / "weights.safetensors"
        metadata = import_bayes_pfl(path, draft, name, stage=stage)
        target = folder / f"{Path(metadata.name).name}.safetensors"
        draft.replace(target)
    return target
