"""Every exception that medzsad raises on purpose.

MedzsadError                 exit code 1
├── ConfigError              exit code 2: a flag, a key or a file of the configuration is wrong
├── WeightsError             exit code 2: weights are missing, damaged, of another method, or not permitted
├── RefusedError             exit code 3: the input cannot be scored reliably; carries a ReasonCode
├── ScoringError             exit code 1: the model returned non-finite scores (NaN or infinity)
└── OutputError              exit code 1: a result could not be written, or did not read back as written
    └── LockedError          exit code 1: another process is at work on the same files

A message says what is wrong, where, with which value, and what to do about it. It never holds a patient's name,
identifier or dates.
"""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of the command line, as docs/concepts/outcomes.md explains them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3


class ReasonCode(StrEnum):
    """Stable codes that say why an input was refused; reports and scripts rely on them.

    GEOMETRY_* and SERIES_TOO_FEW_SLICES can mostly be overcome with `--allow-irregular`. SERIES_MIXED_SIZE and
    SERIES_MIXED_VALUES cannot: the slices of one series differ in size, or in what their values mean (modality,
    MONOCHROME1 or 2, rescale, unit). SERIES_MOSAIC is a Siemens series whose images each show a whole volume.
    """

    GEOMETRY_TILTED = "GEOMETRY_TILTED"
    GEOMETRY_GAP = "GEOMETRY_GAP"
    GEOMETRY_IRREGULAR = "GEOMETRY_IRREGULAR"
    GEOMETRY_DUPLICATE_POSITION = "GEOMETRY_DUPLICATE_POSITION"
    GEOMETRY_MIXED_ORIENTATION = "GEOMETRY_MIXED_ORIENTATION"
    GEOMETRY_MISSING = "GEOMETRY_MISSING"
    SERIES_LOCALIZER = "SERIES_LOCALIZER"
    SERIES_TOO_FEW_SLICES = "SERIES_TOO_FEW_SLICES"
    SERIES_MIXED_SIZE = "SERIES_MIXED_SIZE"
    SERIES_MIXED_VALUES = "SERIES_MIXED_VALUES"
    SERIES_MOSAIC = "SERIES_MOSAIC"
    SERIES_4D = "SERIES_4D"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    PIXELS_NOT_DECODABLE = "PIXELS_NOT_DECODABLE"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    FILE_EMPTY = "FILE_EMPTY"
    VALUES_NOT_FINITE = "VALUES_NOT_FINITE"
    VALUES_CONSTANT = "VALUES_CONSTANT"
    LOOKS_LIKE_LABELS = "LOOKS_LIKE_LABELS"
    SIZE_LIMIT = "SIZE_LIMIT"
    ARCHIVE_UNSAFE = "ARCHIVE_UNSAFE"
    NOTHING_SCORED = "NOTHING_SCORED"
    NOT_TOGETHER = "NOT_TOGETHER"


class MedzsadError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code: ExitCode = ExitCode.FAILED


class ConfigError(MedzsadError):
    """A flag, a configuration key or a configuration file is wrong."""

    exit_code = ExitCode.USAGE


class WeightsError(MedzsadError):
    """Weights are missing, damaged, of another method, or may not be fetched now."""

    exit_code = ExitCode.USAGE


class RefusedError(MedzsadError):
    """The input cannot be scored reliably; `code` says why in a stable word."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["RefusedError"], tuple[ReasonCode, str]]:
        return (type(self), (self.code, str(self)))


class ScoringError(MedzsadError):
    """The model returned non-finite scores (NaN or infinity)."""


class OutputError(MedzsadError):
    """A result could not be written, or what was read back differs from what was written."""


class LockedError(OutputError):
    """Another process is at work on the same files."""
