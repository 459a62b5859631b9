"""Scores of a benchmark's images, kept so that metrics can be taken again without the model."""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzsad.errors import ConfigError, OutputError
from medzsad.evaluation.protocol import RawScore
from medzsad.files import write_bytes_atomic, write_text_atomic

_COLUMNS = ("image", "bytes", "modified_ns", "probability", "top_mean", "maximum")
_KEY = "scores.json"
_TABLE = "scores.csv"
# A map is stored as 16-bit PNG of the fourth root: steps of the score are below 0.01 % near 1 and still below 1 % near
# 1e-8, where the bulk of a normal image lies.
_TOP = 65535
_ROOT = 4
_POWERS = ((np.arange(_TOP + 1) / _TOP) ** _ROOT).astype(np.float32)
_MAPS = "maps"


class KeptScores:
    """A folder with scores.json (what they were made with), scores.csv (one line per image) and maps.

    Maps of pictures are PNG files, those of volumes gzipped numpy arrays.

    Args:
        folder: Of one benchmark.
        key: All that the scores depend on but the images: weights, class name, samples, seed, resizing. None takes
            the folder as it is.

    Raises:
        ConfigError: The folder holds scores made with another key, or none and no key was given.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any] | None) -> None:
        self.folder = folder
        path = folder / _KEY
        if path.is_file() or key is None:
            self.key = _read_key(folder)
            _check_key(folder, self.key, self.key if key is None else key)
        else:
            self.key = dict(key)
            try:
                (folder / _MAPS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder} cannot be written: {error.strerror}. Choose another -o.") from error
            write_text_atomic(path, json.dumps(self.key, indent=1) + "\n")
        self._rows = _read_rows(folder / _TABLE)

    def find(self, name: str, image: Path) -> RawScore | None:
        """The kept score of an image that has not changed since, if its map is there too."""
        row = self._rows.get(name)
        if row is None or self._map(name) is None or row[0] != _fingerprint(image):
            return None
        return row[1]

    def add(self, name: str, image: Path, raw: RawScore, score_map: NDArray[np.float32]) -> None:
        """Keeps the score of an image; the map first, so that a line never lacks its map.

        Raises:
            OutputError: The folder cannot be written.
        """
        values = np.rint(np.clip(score_map, 0, 1).astype(np.float64) ** (1 / _ROOT) * _TOP).astype(np.uint16)
        fingerprint = _fingerprint(image)
        content = _png(values) if values.ndim == 2 else _gzipped(values)
        write_bytes_atomic(self._places(name)[values.ndim - 2], content)
        table = self.folder / _TABLE
        try:
            fresh = not table.is_file()
            with table.open("a", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                if fresh:
                    writer.writerow(_COLUMNS)
                writer.writerow([name, *fingerprint, *(repr(float(v)) for v in _numbers(raw))])
        except OSError as error:
            raise OutputError(f"{table} cannot be written: {error.strerror or error}.") from error
        self._rows[name] = (fingerprint, raw)

    def read_map(self, name: str) -> NDArray[np.float32]:
        """The map of a picture (size, size) or of a volume (i, j, k), in [0, 1].

        Raises:
            OutputError: It cannot be read.
        """
        path = self._map(name) or self._places(name)[0]
        try:
            if path.suffix == ".png":
                with Image.open(path) as picture:
                    values = np.asarray(picture)
            else:
                values = np.load(io.BytesIO(gzip.decompress(path.read_bytes())), allow_pickle=False)
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:
            raise OutputError(
                f"The kept map {path} cannot be read ({error.__class__.__name__}). Remove it and start again."
            ) from None
        # By a table: the fourth power of millions of numbers takes longer than all the rest.
        return np.asarray(_POWERS[values])

    def _map(self, name: str) -> Path | None:
        return next((path for path in self._places(name) if path.is_file()), None)

    def _places(self, name: str) -> tuple[Path, Path]:
        stem = hashlib.sha256(name.encode()).hexdigest()[:24]
        return self.folder / _MAPS / f"{stem}.png", self.folder / _MAPS / f"{stem}.npy.gz"


def _png(values: NDArray[np.uint16]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, format="PNG", compress_level=3)
    return content.getvalue()


def _gzipped(values: NDArray[np.uint16]) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    # Without a time stamp, so that equal scores give equal bytes.
    return gzip.compress(content.getvalue(), compresslevel=1, mtime=0)


def _read_key(folder: Path) -> dict[str, Any]:
    try:
        key = json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} holds no kept scores ({error.__class__.__name__}).") from None
    if not isinstance(key, dict):
        raise ConfigError(f"{folder / _KEY} is not of medzsad.")
    return key


def _check_key(folder: Path, known: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    plain = json.loads(json.dumps(dict(key)))
    other = sorted(name for name in {*known, *plain} if known.get(name) != plain.get(name))
    if other:
        told = "; ".join(f"{name} {known.get(name)!r} there, {plain.get(name)!r} now" for name in other)
        raise ConfigError(f"{folder} holds scores that were made otherwise: {told}. Choose another folder with -o.")


def _numbers(raw: RawScore) -> tuple[float, float, float]:
    return raw.probability, raw.top_mean, raw.maximum


def _fingerprint(image: Path) -> tuple[int, int]:
    try:
        state = image.stat()
    except OSError as error:
        raise ConfigError(f"Cannot read {image} ({error.strerror or error}). Check the data.") from None
    return state.st_size, state.st_mtime_ns


def _read_rows(path: Path) -> dict[str, tuple[tuple[int, int], RawScore]]:
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        # The last line was being written when the program ended. It is cut off, or the next would be glued to it.
        text = text[: text.rfind("\n") + 1]
        write_text_atomic(path, text)
    return dict(_parsed(csv.DictReader(io.StringIO(text, newline=""))))


def _parsed(rows: Iterable[Mapping[str, str]]) -> Iterable[tuple[str, tuple[tuple[int, int], RawScore]]]:
    for row in rows:
        numbers = (float(row[name]) for name in ("probability", "top_mean", "maximum"))
        yield row["image"], ((int(row["bytes"]), int(row["modified_ns"])), RawScore(*numbers))
