"""The shape of the JSON files."""

import json
from importlib import resources

import pytest
from pydantic import ValidationError

from medzsad.output.schema import LesionRecord, SliceRecord, json_text, plain_value, report_schema


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    # After a wanted change: write json_text(report_schema()) to the file; raise SCHEMA_VERSION if a reader could break.
    shipped = resources.files("medzsad").joinpath("assets/report.schema.json").read_text(encoding="utf-8")
    assert shipped == json_text(report_schema())


def test_numbers_that_json_cannot_hold_never_get_in() -> None:
    with pytest.raises(ValidationError):
        SliceRecord(index=0, scored=True, image_score=float("nan"), max_score=0.5)
    with pytest.raises(ValidationError):
        SliceRecord(index=0, scored=True, image_score=1.1, max_score=0.5)
    assert plain_value({"low": float("nan"), "high": (1.0, float("inf"))}) == {"low": None, "high": [1.0, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"x": float("inf")})


def test_a_rounding_error_beyond_one_is_one() -> None:
    assert SliceRecord(index=0, scored=True, image_score=1.0000001, max_score=-1e-8).image_score == 1.0


def test_numbers_are_rounded_and_zero_has_no_sign() -> None:
    lesion = LesionRecord(
        index=1,
        voxel_count=3,
        volume_mm3=12.34567,
        max_score=0.123456789,
        mean_score=0.1,
        mean_spread=None,
        centroid_index=(1.00049, 2, 3),
        centroid_lps_mm=(-1e-9, 2, 3),
        centroid_ras_mm=(1, 2, 3),
        bounding_box=((0, 1), (2, 3), (4, 5)),
        slice_axis=2,
        slice_first=4,
        slice_last=5,
    )
    values = json.loads(lesion.model_dump_json())
    assert (values["volume_mm3"], values["max_score"], values["centroid_index"][0]) == (12.346, 0.123457, 1.0)
    assert str(values["centroid_lps_mm"][0]) == "0.0"
