"""The border at which errors of the format libraries become `RefusedError`."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from tarfile import TarError
from zipfile import BadZipFile

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError
from nibabel.wrapstruct import WrapStructError
from PIL import Image
from pydicom.errors import BytesLengthException, InvalidDicomError

from medzsad.errors import ReasonCode, RefusedError

_TALKATIVE = ("pydicom", "highdicom", "nibabel.global", "openjpeg", "pylibjpeg", "PIL")

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    BadZipFile,
    HeaderDataError,
    ImageDataError,
    ImageFileError,
    InvalidDicomError,
    LookupError,
    LZMAError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TarError,
    TypeError,
    ValueError,
    WrapStructError,
    struct.error,
    zlib.error,
)


@contextmanager
def silent_loggers() -> Iterator[None]:
    """Keeps libraries from logging what they read: their warnings quote values, among them those of the patient.

    Around a loop over files it saves time: each change of a level clears what `logging` knows of all loggers, and
    inside the block none is needed.
    """
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    loggers = [logger for logger in loggers if logger.level <= logging.CRITICAL]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def refusing(place: str, code: ReasonCode = ReasonCode.FILE_UNREADABLE, problem: str = "") -> Iterator[None]:
    """Turns what a format library raises on a damaged file into a `RefusedError`, and silences its warnings.

    The library's own text is left out, for it may quote values of patient tags; the kind of error is kept.
    While the block runs, levels of the libraries' loggers and the warning filters are changed for the whole
    process: not for several threads at once.

    Args:
        place: The file or series, as the user knows it.
        code: Reason code of the refusal.
        problem: What is wrong, as the predicate of a sentence that begins with `place`.

    Raises:
        RefusedError: The library raised one of `LIBRARY_ERRORS`.
    """
    try:
        with warnings.catch_warnings(), silent_loggers():
            warnings.simplefilter("ignore")
            yield
    except RefusedError:
        raise
    except PermissionError as error:
        message = f"{place} may not be read by this user. Change its permissions."
        raise RefusedError(ReasonCode.FILE_UNREADABLE, message) from error
    except MemoryError as error:
        message = f"{place} needs more memory than there is. Free memory or leave it out."
        raise RefusedError(ReasonCode.SIZE_LIMIT, message) from error
    except Image.DecompressionBombError as error:
        message = f"{place} is a picture of too many pixels to decode safely. Make it smaller."
        raise RefusedError(ReasonCode.SIZE_LIMIT, message) from error
    except LIBRARY_ERRORS as error:
        predicate = problem or "is damaged or not what its name says"
        message = f"{place} {predicate} ({type(error).__name__}). Check it or fetch it again."
        raise RefusedError(code, message) from error


def check_size(place: str, voxels: int, max_voxels: int) -> None:
    """Refuses what would need more voxels than allowed, before memory is allocated.

    Raises:
        RefusedError: SIZE_LIMIT, with both numbers.
    """
    if voxels > max_voxels:
        raise RefusedError(
            ReasonCode.SIZE_LIMIT,
            f"{place} has {voxels} voxels, the limit is {max_voxels}. Raise --max-voxels if memory allows.",
        )
    if voxels < 1:
        raise RefusedError(
            ReasonCode.FILE_UNREADABLE, f"{place} has no voxels by its header. Check it or fetch it again."
        )
