"""The real sets of pictures at hand are read whole."""

from pathlib import Path

import pytest

from medzsad.datasets.read_benchmark import read_benchmark

BRAIN_MRI = Path(__file__).resolve().parents[3] / "shared" / "data" / "medical" / "brain_mri"
LGG = BRAIN_MRI.parent / "brain_mri_lgg"


@pytest.mark.skipif(not BRAIN_MRI.is_dir(), reason="../shared/data/medical/brain_mri is not here")
def test_the_real_brain_mri_is_whole() -> None:
    for folder in (BRAIN_MRI, BRAIN_MRI.parent):
        data = read_benchmark("brain_mri", folder)
        assert ([r.label for r in data.records].count(1), len(data.records), data.problems) == (155, 253, ())


@pytest.mark.skipif(not BRAIN_MRI.is_dir(), reason="../shared/data/medical/brain_mri is not here")
def test_the_incomplete_index_is_rebuilt_from_the_real_files() -> None:
    data = read_benchmark("brain_mri_153", BRAIN_MRI)
    assert ([r.label for r in data.records].count(1), len(data.records), data.problems) == (68, 153, ())


@pytest.mark.skipif(not LGG.is_dir(), reason="../shared/data/medical/brain_mri_lgg is not here")
def test_the_real_lgg_slices_have_masks_and_patients() -> None:
    data = read_benchmark("brain_mri_lgg", LGG)
    assert (len(data.records), len({r.subject for r in data.records}), data.problems) == (240, 52, ())
    assert all(r.mask and r.mask.name == r.image.name for r in data.records)
