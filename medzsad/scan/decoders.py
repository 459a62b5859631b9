"""Which of pydicom's decoders are used, and what they can decode beyond what they say."""

import struct

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from medzsad.errors import RefusedError
from medzsad.scan.guard import refusing

# Compressed transfer syntaxes that hospitals use (PS3.5 Annex A.4).
SYNTAXES = {
    "RLE Lossless": "1.2.840.10008.1.2.5",
    "JPEG Baseline": "1.2.840.10008.1.2.4.50",
    "JPEG Extended": "1.2.840.10008.1.2.4.51",
    "JPEG Lossless": "1.2.840.10008.1.2.4.57",
    "JPEG Lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS Lossless": "1.2.840.10008.1.2.4.80",
    "JPEG-LS Near-lossless": "1.2.840.10008.1.2.4.81",
    "JPEG 2000 Lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}
_SIDE, _BITS = 8, 12


def prefer_safe_decoders() -> None:
    """Takes GDCM off the list of pydicom's decoders wherever another one is there; set once, by `scan.reader`.

    On damaged pixels GDCM writes to file descriptor 2 whatever its settings are, and may end the process.
    """
    for uid in SYNTAXES.values():
        decoder = get_decoder(UID(uid))
        if "gdcm" in decoder.available_plugins and len(decoder.available_plugins) > 1:
            decoder.remove_plugin("gdcm")


def only_gdcm(transfer_syntax_uid: str) -> bool:
    """Whether GDCM is the only decoder of the pixels: they are decoded in a process of their own then."""
    try:
        return tuple(get_decoder(UID(transfer_syntax_uid)).available_plugins) == ("gdcm",)
    except NotImplementedError:
        return False


def decodable() -> dict[str, bool]:
    """For each compressed transfer syntax whether its pixels can be decoded here; JPEG Extended also of 12 bits."""
    found = {name: bool(get_decoder(UID(uid)).is_available) for name, uid in SYNTAXES.items()}
    found["JPEG Extended of 12 bits"] = _decodes_12_bits()
    return found


def _decodes_12_bits() -> bool:
    """Whether a JPEG of 12 bits is decoded; the decoders of JPEG Extended often know 8 bits only."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(SYNTAXES["JPEG Extended"])
    dataset.Rows = dataset.Columns = _SIDE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, _BITS, _BITS - 1, 0
    dataset.PixelData = encapsulate([gray_jpeg(_BITS)])
    dataset["PixelData"].VR = "OB"
    try:
        with refusing("a sample of 12 bits"):
            return bool((pixel_array(dataset) == 2 ** (_BITS - 1)).all())
    except RefusedError:
        return False


def gray_jpeg(bits: int) -> bytes:
    """One block of 8 x 8 pixels in middle gray, as JPEG with extended sequential coding (ITU-T T.81, SOF1)."""
    tables = b"\0" + bytes([1] * 64)  # quantization by 1
    frame = struct.pack(">BHHB3B", bits, _SIDE, _SIDE, 1, 1, 0x11, 0)
    codes = [bytes([kind, 1, *[0] * 15, 0]) for kind in (0x00, 0x10)]  # the one code "0": no difference, end of block
    scan = bytes([1, 1, 0x00, 0, 63, 0])
    parts = [(0xDB, tables), (0xC1, frame), *((0xC4, code) for code in codes), (0xDA, scan)]
    segments = b"".join(struct.pack(">BBH", 0xFF, mark, len(body) + 2) + body for mark, body in parts)
    return b"\xff\xd8" + segments + b"\x3f" + b"\xff\xd9"  # the bits 00, filled up with ones
