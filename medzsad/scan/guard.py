"""The border at which errors of the format libraries become `RefusedError`."""

import errno
import os
import struct
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
from medzsad.scan.silence import quiet_libraries

quiet_libraries()  # again, for pydicom has set its level when it was imported

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


# What the system says when the file itself is not to blame.
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_FULL = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))
_OF_THE_SYSTEM = tuple(
    getattr(errno, name)
    for name in ("EIO", "ENXIO", "ENODEV", "EBUSY", "EMFILE", "ENFILE", "EROFS", "ESTALE", "ETIMEDOUT", "ENOTCONN",
                 "EHOSTDOWN", "ENAMETOOLONG", "ELOOP", "ENOENT", "EISDIR", "ENOTDIR", "EDEADLK")
    if hasattr(errno, name)
)  # fmt: skip


@contextmanager
def refusing(place: str, code: ReasonCode = ReasonCode.FILE_UNREADABLE, problem: str = "") -> Iterator[None]:
    """Turns what a format library raises on a damaged file into a `RefusedError`.

    Put it around single calls of a library and never around code of ours, whose errors are no file's fault. The
    library's own text is left out, for it may quote values of patient tags; the kind of error is kept.

    Args:
        place: The file or series, as the user knows it.
        code: Reason code of the refusal.
        problem: What is wrong, as the predicate of a sentence that begins with `place`.

    Raises:
        RefusedError: The library raised one of `LIBRARY_ERRORS`.
    """
    try:
        yield
    except RefusedError:
        raise
    except MemoryError as error:
        message = f"{place} needs more memory than there is. Free memory or leave it out."
        raise RefusedError(ReasonCode.SIZE_LIMIT, message) from error
    except Image.DecompressionBombError as error:
        message = f"{place} is a picture of too many pixels to decode safely. Make it smaller."
        raise RefusedError(ReasonCode.SIZE_LIMIT, message) from error
    except LIBRARY_ERRORS as error:
        if (refusal := _of_the_system(place, error)) is not None:
            raise refusal from error
        predicate = problem or "is damaged or not what its name says"
        message = f"{place} {predicate} ({type(error).__name__}). Check it or fetch it again."
        raise RefusedError(code, message) from error


def _of_the_system(place: str, error: BaseException) -> RefusedError | None:
    """The refusal where the system kept a file from being read or unpacked, also below an error of a library."""
    cause: BaseException | None = error
    while cause is not None:
        number = (cause.errno or 0) if isinstance(cause, OSError) else 0
        if number in _FORBIDDEN:
            message = f"{place} may not be read by this user. Change its permissions."
            return RefusedError(ReasonCode.FILE_UNREADABLE, message)
        if number in _FULL:
            message = f"{place} needs more space than is left on the disk. Free some, or set TMPDIR to another folder."
            return RefusedError(ReasonCode.SIZE_LIMIT, message)
        if number in _OF_THE_SYSTEM:
            message = f"{place} cannot be read by the system: {os.strerror(number)}. Check the path and its disk."
            return RefusedError(ReasonCode.FILE_UNREADABLE, message)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


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
