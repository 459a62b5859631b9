"""The phantoms on which all other tests rest."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.phantoms import SECRET_ID, SECRET_NAME, all_axcodes, phantom_scan, values_in_world, write_dicom_series


def test_there_are_48_axis_orders() -> None:
    assert len(set(all_axcodes())) == 48


@pytest.mark.parametrize("axcodes", all_axcodes()[::5])
def test_the_lesion_stays_at_its_place_in_every_axis_order(axcodes: str) -> None:
    plain = phantom_scan((20, 24, 9), oblique_degrees=(8.0, -3.0, 5.0))
    turned = phantom_scan((20, 24, 9), axcodes=axcodes, oblique_degrees=(8.0, -3.0, 5.0))
    np.testing.assert_allclose(turned.lesion_centroid_ras_mm, plain.lesion_centroid_ras_mm)
    np.testing.assert_array_equal(values_in_world(turned.scan, plain.scan), plain.scan.voxels)


def test_the_phantom_cannot_hide_a_flip_or_a_swap() -> None:
    phantom = phantom_scan()
    assert len(set(phantom.scan.shape)) == len(set(phantom.scan.spacing_mm)) == 3
    for axis in range(3):
        assert not (phantom.lesion_mask & np.flip(phantom.lesion_mask, axis)).all(where=phantom.lesion_mask)
    assert phantom.scan.voxels[phantom.lesion_mask].min() > phantom.scan.voxels[~phantom.lesion_mask].max()


def test_a_phantom_without_lesion_has_none() -> None:
    phantom = phantom_scan(lesion=False)
    assert not phantom.lesion_mask.any()
    assert phantom.scan.voxels.max() < 700


def test_dicom_phantoms_carry_a_secret_to_look_for(tmp_path: Path) -> None:
    write_dicom_series(tmp_path)
    dataset = pydicom.dcmread(tmp_path / "0001.dcm")
    assert (str(dataset.PatientName), dataset.PatientID) == (SECRET_NAME, SECRET_ID)
