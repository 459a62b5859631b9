"""Which transfer syntaxes can be decoded here, told without any pixel."""

from functools import cache

from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit

from medzsad.scan.dicom.header_values import is_uid, uid_name


def syntax_problem(transfer_syntax_uid: str, bits_stored: int) -> str:
    """Why pixels cannot be decoded, as the predicate of a sentence with its advice; "" if they can or may be.

    Args:
        transfer_syntax_uid: TransferSyntaxUID, "" where it is absent: then it is guessed from how tags are encoded.
        bits_stored: BitsStored.
    """
    if not transfer_syntax_uid or _decodes(transfer_syntax_uid, deep=bits_stored > 8):
        return ""
    name = uid_name(transfer_syntax_uid) or "unknown"
    bits = f" of {bits_stored} bits" if transfer_syntax_uid == JPEGExtended12Bit else ""
    return (
        f"has pixels that cannot be decoded (transfer syntax {name}{bits}). Convert it to an uncompressed or a lossless"
        " transfer syntax first."
    )


@cache
def _decodes(transfer_syntax_uid: str, *, deep: bool) -> bool:
    if not is_uid(transfer_syntax_uid):
        return False
    try:
        decoder = get_decoder(UID(transfer_syntax_uid))
    except NotImplementedError:
        return False
    if deep and transfer_syntax_uid == JPEGExtended12Bit:  # the others take its 8 bits only
        return "pylibjpeg" in decoder.available_plugins
    return bool(decoder.is_available)
