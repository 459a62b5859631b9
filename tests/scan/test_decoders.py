import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from medzsad.scan.decoders import SYNTAXES, decodable, gray_jpeg, prefer_safe_decoders


def test_the_sample_is_a_jpeg_in_middle_gray() -> None:
    picture = Image.open(io.BytesIO(gray_jpeg(8)))
    assert picture.size == (8, 8)
    np.testing.assert_array_equal(np.asarray(picture), 128)


def test_a_jpeg_of_12_bits_counts_as_decodable_only_if_a_real_one_is_decoded() -> None:
    path = get_testdata_file("JPGExtended.dcm")
    assert isinstance(path, str)
    try:
        decoded = bool(pixel_array(dcmread(Path(path))).any())
    except RuntimeError:
        decoded = False
    assert decodable()["JPEG Extended of 12 bits"] is decoded


def test_gdcm_decodes_nothing_that_another_decoder_can() -> None:
    prefer_safe_decoders()
    for name in SYNTAXES.values():
        plugins = get_decoder(UID(name)).available_plugins
        assert "gdcm" not in plugins or plugins == ("gdcm",)
    assert all(works for name, works in decodable().items() if name in SYNTAXES)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm"])
def test_lossless_pixels_are_the_same_without_gdcm(name: str) -> None:
    prefer_safe_decoders()
    paths = [get_testdata_file(one) for one in (name, "MR_small.dcm")]
    assert all(isinstance(path, str) for path in paths)
    packed, plain = (pixel_array(dcmread(str(path))) for path in paths)
    np.testing.assert_array_equal(packed, plain)
