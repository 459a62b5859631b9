"""Windows: presets for CT, percentiles of the whole volume for the rest."""

from dataclasses import replace

import numpy as np
import pytest

from medzsad.errors import ConfigError
from medzsad.scan.records import Scan, Source
from medzsad.slices.window import CT_WINDOWS, looks_like_head, looks_like_hounsfield, resolve_window


def _scan(voxels: np.ndarray, modality: str = "MR") -> Scan:
    return Scan("case", voxels.astype(np.float32), np.eye(4), modality, None, Source("array"))


def _body(background: float, tissue: float, fluid: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    voxels = rng.normal(background, 1.0, (40, 44, 12))
    voxels[8:32, 8:36, 2:10] = rng.normal(tissue, 20.0, (24, 28, 8))
    voxels[16:20, 16:24, 4:8] = fluid
    return voxels


def test_ct_takes_a_preset_in_hounsfield_units() -> None:
    window = resolve_window(_scan(_body(-1000, 40, 0), "CT"))
    assert (window.low, window.high, window.name) == (-160.0, 240.0, "soft-tissue")


def _head() -> np.ndarray:
    """Brain within bone within skin, in air."""
    x = np.linspace(-1, 1, 48)
    radius = np.sqrt(x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :24] ** 2)
    voxels = np.full(radius.shape, -1000.0)
    voxels[radius < 0.85] = 20.0
    voxels[radius < 0.8] = 900.0
    voxels[radius < 0.7] = 35.0
    return voxels


def test_ct_of_a_head_takes_the_brain_window_by_its_values() -> None:
    window = resolve_window(_scan(_head(), "CT"))
    assert (window.low, window.high, window.name) == (0.0, 80.0, "brain")
    assert "looks like one of a head" in window.source


def test_what_the_file_says_of_the_body_part_comes_first() -> None:
    body = replace(_scan(_body(-1000, 40, 0), "CT"), body_part="HEAD")
    assert resolve_window(body).name == "brain"
    knee = replace(_scan(_head(), "CT"), body_part="KNEE")
    assert resolve_window(knee).name == "soft-tissue"


def test_a_brain_alone_is_a_head_and_a_trunk_is_none() -> None:
    brain = np.where(_head() == 35.0, 35.0, 0.0)
    assert looks_like_head(brain)
    trunk = np.where(_head() == 900.0, -90.0, _head())  # fat in place of bone
    assert not looks_like_head(trunk)
    assert not looks_like_head(np.full((4, 4, 4), -1000.0))


def test_no_slice_of_a_thin_stack_is_left_out_of_the_percentiles() -> None:
    voxels = np.zeros((2000, 2000, 4), np.float32)
    voxels[200:1800, 200:1800, 1:] = 500.0
    window = resolve_window(_scan(voxels))
    assert (window.low, window.high) == (0.0, 500.0)


def test_other_modalities_take_percentiles_with_the_background_dark_and_the_tissue_bright() -> None:
    window = resolve_window(_scan(_body(5, 400, 120)))
    assert window.name == "percentiles"
    assert window.low < 10
    assert 420 < window.high < 480
    assert 10 < window.tissue_level < 120


def test_the_window_does_not_depend_on_where_the_tissue_lies() -> None:
    voxels = _body(5, 400, 120)
    assert resolve_window(_scan(voxels)).high == pytest.approx(resolve_window(_scan(voxels[::-1])).high, rel=1e-6)


def test_8_bit_pictures_keep_their_range() -> None:
    window = resolve_window(_scan(np.arange(200).reshape(10, 20, 1), "PICTURE"))
    assert (window.low, window.high) == (0.0, 255.0)


def test_limits_can_be_given() -> None:
    window = resolve_window(_scan(_body(-1000, 40, 0), "CT"), "-50.5,150")
    assert (window.low, window.high) == (-50.5, 150.0)


@pytest.mark.parametrize("name", sorted(CT_WINDOWS))
def test_every_preset_is_its_center_plus_and_minus_half_its_width(name: str) -> None:
    window = resolve_window(_scan(_body(-1000, 40, 0), "CT"), name)
    center, width = CT_WINDOWS[name]
    assert (window.low + window.high) / 2 == center
    assert window.high - window.low == width


@pytest.mark.parametrize("choice", ["lungs", "5,1", "a,b", "1,2,3", "nan,1"])
def test_a_wrong_window_is_a_usage_error(choice: str) -> None:
    with pytest.raises(ConfigError, match="indow"):
        resolve_window(_scan(_body(5, 400, 120)), choice)


def test_hounsfield_units_are_noticed_where_the_file_names_no_modality() -> None:
    voxels = np.round(_body(-1000, 40, 0))
    assert looks_like_hounsfield(_scan(voxels, ""))
    assert not looks_like_hounsfield(_scan(voxels, "CT"))
    assert not looks_like_hounsfield(_scan(_body(5, 400, 120), ""))
