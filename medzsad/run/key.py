"""When a case counts as done: same input bytes, same options, same weights, same version."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzsad.config import RunConfig, result_options
from medzsad.errors import ReasonCode, RefusedError
from medzsad.files import file_sha256
from medzsad.methods.detector import Detector
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate
from medzsad.version import __version__


def content_digest(candidate: Candidate) -> str:
    """The sha256 (hex) of the bytes of all files of a candidate; their order and names do not matter.

    Raises:
        RefusedError: FILE_UNREADABLE, if a file can no longer be read.
    """
    return _json_digest(sorted(_digest(path) for path in candidate.files))


def case_key(candidate: Candidate, content: str, options: Mapping[str, Any], weights: Mapping[str, str]) -> str:
    """The sha256 (hex) that identifies the result of a case.

    Args:
        candidate: What was found; its kind, name and frame count.
        content: From `content_digest`.
        options: The options that change results.
        weights: Digests of the weights.
    """
    description = {
        "version": __version__,
        "content": content,
        "kind": candidate.kind,
        "name": candidate.name,
        "frame": candidate.frame,
        "options": dict(options),
        "weights": dict(weights),
    }
    return _json_digest(description)


def key_of(candidate: Candidate, content: str, config: RunConfig, detector: Detector) -> str:
    """The key of a case under a checked configuration and a detector; see `case_key`."""
    card = detector.card
    return case_key(candidate, content, result_options(config), {"prompts": card.sha256, "clip": card.clip_sha256})


def _json_digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{shown_name(path)} cannot be read ({error.strerror or error}). Check that it exists and its permissions.",
        ) from None
