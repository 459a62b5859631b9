"""Weights brought onto this computer: downloaded and verified."""

import importlib
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pooch
from open_clip.pretrained import get_pretrained_cfg

from medzsad.clip.states import read_tower_state
from medzsad.clip.tower import infer_model_config
from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.weights.card import is_weights_file
from medzsad.weights.imported import read_checkpoint, recognized_method, translated, write_imported
from medzsad.weights.load import load_detector
from medzsad.weights.manifest import Release, cache_dir, check_download, find_release, list_releases, weights_path
from medzsad.weights.store import read_weights


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
        name: From `list_releases`.
        folder: Where to; None takes the cache folder, where the other commands look for weights.

    Raises:
        WeightsError: There are no such weights, the download failed, or what came is not what it should be; nothing is
            installed then.
    """
    release = find_release(name)
    target = weights_path(name) if folder is None or release.kind == "embedded" else folder / release.file
    if target.is_file():
        verify_weights(target)
        return target
    if release.kind == "embedded":
        raise WeightsError(f"The weights {name} come with medzsad but are missing; install medzsad again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as partial:
        downloaded = _download(release, Path(partial))
        check_download(release, downloaded)
        if release.kind == "prompts":
            write_imported(downloaded, target, release.name)
        else:
            downloaded.replace(target)
    return target


def _download(release: Release, folder: Path) -> Path:
    try:
        path = _from_google_drive(release, folder) if release.google_drive else _from_web(release, folder)
    except (OSError, RuntimeError) as error:  # what urllib, requests and both libraries raise derives from these
        raise WeightsError(
            f"The weights {release.name} could not be downloaded ({_sentence(error)}). Is this computer online? "
            f"A file from elsewhere is installed with `medzsad weights import`, a CLIP tower named with --clip-weights."
        ) from error
    if not path.is_file():
        raise WeightsError(f"The download of the weights {release.name} gave no file. Try again later.")
    return path


def _from_google_drive(release: Release, folder: Path) -> Path:
    try:
        gdown = importlib.import_module("gdown")  # an optional dependency
    except ImportError as error:
        raise WeightsError("Fetching these weights needs gdown: pip install 'medzsad[fetch]'.") from error
    path = folder / release.original
    # gdown 5 raises the latter only, which from version 6 on is a special case of the former.
    failure = getattr(gdown.exceptions, "DownloadError", gdown.exceptions.FileURLRetrievalError)
    try:
        gdown.download(id=release.google_drive, output=str(path), quiet=not sys.stderr.isatty())
    except failure as error:
        raise OSError(_sentence(error)) from error
    return path


def _from_web(release: Release, folder: Path) -> Path:
    url = release.url or get_pretrained_cfg(release.name, release.open_clip)["url"]
    name = Path(release.original or release.file).name
    pooch.get_logger().setLevel(logging.WARNING)  # it would tell its address and folder; the bar says enough
    # The digest is compared afterwards, by `check_download`, with a message of ours.
    return Path(pooch.retrieve(url, known_hash=None, fname=name, path=folder, progressbar=sys.stderr.isatty()))


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def verify_weights(weights: str | Path) -> Verification:
    """What is known about weights given by name or file, after reading all of it.

    Args:
        weights: Name, weights file of medzsad, authors' file, or file of a CLIP tower.

    Raises:
        WeightsError: The file is missing, damaged, of another method, or not what its name says.
    """
    path = Path(weights) if Path(weights).is_file() or isinstance(weights, Path) else _installed(weights)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Known weights come with `medzsad weights fetch NAME`.")
    size, sha256 = path.stat().st_size, file_sha256(path)
    for release in list_releases():
        if release.sha256 == sha256:
            return Verification(path, sha256, size, f"This is {release.original or release.file}, as published.")
    for release in list_releases():
        if path.name == release.original or (release.kind == "clip" and path.name == release.file):
            check_download(release, path)
    return Verification(path, sha256, size, _content_verdict(path))


def _installed(name: str) -> Path:
    """Where the weights of a name lie: imported ones have names that are not in the manifest."""
    imported = cache_dir() / f"{Path(name).name}.safetensors"
    return imported if imported.is_file() else weights_path(name)


def _content_verdict(path: Path) -> str:
    if path.suffix == ".pth":
        content = read_checkpoint(path)
        method = recognized_method(content, path)
        translated(content, method, path)
        return f"Weights of {method.title} in the authors' format, complete; none of the published files."
    if path.suffix == ".safetensors" and is_weights_file(path):
        found = read_weights(path)
        card = found.card
        if card.clip_config:
            load_detector(path)  # checks the tower inside
        origin = next((release for release in list_releases() if release.sha256 == card.source_sha256), None)
        made = f", imported from {origin.original} as published" if card.source_sha256 and origin else ""
        numbers = sum(value.numel() for value in found.model.inference_state().values())
        return f"Weights of {found.method.title} called {card.name}{made}: complete, {numbers} numbers, all finite."
    infer_model_config(read_tower_state(path))
    return "A CLIP tower with a vision transformer; none of the published files."
