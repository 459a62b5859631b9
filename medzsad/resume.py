"""When a case counts as done: same input bytes, same options, same weights, same version."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.records import Candidate
from medzsad.version import __version__


def case_key(candidate: Candidate, options: Mapping[str, Any], weights: Mapping[str, str]) -> str:
    """The sha256 (hex) that identifies the result of a case.

    It covers the bytes of all files of the candidate (their order and names do not matter), the frame, the options
    that change results, the digests of the weights, and medzsad's version.

    Raises:
        RefusedError: FILE_UNREADABLE, if a file can no longer be read.
    """
    description = {
        "version": __version__,
        "files": sorted(_digest(path) for path in candidate.files),
        "kind": candidate.kind,
        "name": candidate.name,
        "frame": candidate.frame,
        "verdict": candidate.code,
        "options": dict(options),
        "weights": dict(weights),
    }
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{path.name} cannot be read ({error.strerror or error}). Check that it exists and its permissions.",
        ) from None
