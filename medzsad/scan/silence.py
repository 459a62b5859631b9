"""What the format libraries say of their own is kept out of the log and off the terminal, for it may quote patients.

Everything here is set once, when `medzsad.scan` is imported, and nothing is changed while files are read: reading is
safe under threads, and a program's own loggers, warnings and file descriptors stay as they are.
"""

import logging
import warnings

LIBRARIES = ("pydicom", "highdicom", "nibabel", "PIL", "SimpleITK", "gdcm", "openjpeg", "pylibjpeg", "jpeg_ls")
# These have levels or handlers of their own: pydicom sets a level, nibabel prints to stderr.
_SELF_WILLED = ("pydicom", "nibabel.global")


class Silence(logging.Filter):
    """Lets no record of a logger pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False."""
        return False


def quiet_libraries() -> None:
    """Silences loggers and warnings of the format libraries; may be called again, once they are imported.

    A program that wants the log of a library all the same sets the level of its logger after this, and takes the
    filter `Silence` off. Warnings are ignored by the module that raises them, so that those of other code still come
    through.
    """
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # those below inherit it
    for name in _SELF_WILLED:
        logger = logging.getLogger(name)
        if not any(isinstance(one, Silence) for one in logger.filters):
            logger.addFilter(Silence())
    warnings.filterwarnings("ignore", module=rf"({'|'.join(LIBRARIES)})(\..*)?$")


def quiet_tiff() -> None:
    """Keeps libtiff, which Pillow brings, from writing to file descriptor 2; Pillow raises an error anyway.

    Pillow has no switch for it. Where the functions of libtiff cannot be reached, it goes on writing.
    """
    import ctypes

    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            function(None)
    except (AttributeError, OSError):
        return


def quiet_itk() -> None:
    """Keeps ITK from writing its warnings to file descriptor 2."""
    from SimpleITK import ProcessObject

    ProcessObject.SetGlobalWarningDisplay(False)
