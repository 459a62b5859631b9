"""When a case counts as done: same input bytes, same options, same weights, same version."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzsad.config import RunConfig
from medzsad.errors import ReasonCode, RefusedError
from medzsad.files import file_sha256
from medzsad.methods.ensemble import Model
from medzsad.run.site_file import read_site
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate
from medzsad.version import __version__

# These choose cases, limits or speed, or are told by their content; none of them changes what a case's files hold
# beyond rounding.
_NOT_IN_KEY = frozenset(
    {
        "series",
        "all_frames",
        "together",  # a case that stands for several is known by its files
        "allow_labels",
        "max_voxels",
        "max_archive_bytes",
        # The content of these two is part of the key, wherever the files lie.
        "guide_weights",
        "calibration",
        "device",
        "batch_size",
        "threads",
        "workers",
    }
)


# These choose which files are read, or say what is made of the scores, and change no score.
_NOT_OF_SCORES = frozenset(
    {
        "weights",
        "clip_weights",
        "threshold",
        "sensitivity",
        "frame",
        "allow_irregular",
        "min_slices",
        "score_dtype",
        "with_uids",
    }
)


def score_options(config: RunConfig) -> dict[str, Any]:
    """The options that change which candidates a scan has and how strong they are, as plain JSON values.

    The weights are told by their digests, not by their names.
    """
    return _options(config, _NOT_IN_KEY | _NOT_OF_SCORES)


def result_options(config: RunConfig) -> dict[str, Any]:
    """The options that change a case's files, as plain JSON values; part of the key under which a case is done."""
    return _options(config, _NOT_IN_KEY)


def _options(config: RunConfig, left_out: frozenset[str]) -> dict[str, Any]:
    # Unless it is asked for, adaptation is not told: cases and calibrations from before there was any still hold.
    idle = frozenset() if config.adapt else frozenset({"adapt"})
    return config.model_dump(mode="json", exclude=set(left_out | idle))


def content_digest(candidate: Candidate) -> str:
    """The sha256 (hex) of the bytes of all files of a candidate; their order and names do not matter.

    Raises:
        RefusedError: FILE_UNREADABLE, if a file can no longer be read.
    """
    return json_digest(sorted(_digest(path) for path in candidate.files))


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
    return json_digest(description)


def key_of(candidate: Candidate, content: str, config: RunConfig, detector: Model) -> str:
    """The key of a case under a checked configuration and a detector; see `case_key`.

    Raises:
        ConfigError: The calibration of the configuration cannot be read.
    """
    digests = {"prompts": detector.card.sha256, "clip": detector.card.clip_sha256}
    if detector.card.guide_sha256:
        digests["guide"] = detector.card.guide_sha256
    if config.calibration is not None:
        digests["calibration"] = read_site(Path(config.calibration)).digest
    return case_key(candidate, content, result_options(config), digests)


def json_digest(value: object) -> str:
    """The sha256 (hex) of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE,
            f"{shown_name(path)} cannot be read ({error.strerror or error}). Check that it exists and its permissions.",
        ) from None
