"""Results of a phantom, as the stages before would hand them on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medzsad.config import RunConfig
from medzsad.output.schema import RunManifest
from medzsad.scan.records import Candidate, Scan, Source
from medzsad.volume.lesions import find_lesions
from medzsad.volume.records import CaseResult, Outcome, SliceScore
from medzsad.volume.threshold import apply_threshold
from medzsad.weights.card import ModelCard
from tests.phantoms import Phantom, phantom_scan

SECRETS = ("Phantom^Secret", "SECRET-4711", "20010203")
MakeResult = Callable[..., CaseResult]


def plant_secrets(header: nib.Nifti1Header) -> nib.Nifti1Header:
    """The header with a name, an identifier and a date in every place for free text."""
    header["descrip"] = "Phantom^Secret SECRET-4711 20010203"
    header["aux_file"] = "SECRET-4711 20010203"
    header["intent_name"] = "Phantom^Secret"
    for unused in {"db_name", "data_type"} & set(header.keys()):  # Nifti2 has none of them
        header[unused] = "Phantom^Secret"
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Phantom^Secret SECRET-4711 20010203"))
    return header


def with_nifti_header(scan: Scan, kind: type[nib.Nifti1Image] = nib.Nifti1Image) -> Scan:
    """The scan as if read from a NIfTI file whose sform and qform codes differ and whose header names a patient."""
    image = kind(scan.voxels.astype(np.int16), scan.affine_ras)
    image.set_sform(scan.affine_ras, code=2)
    image.set_qform(scan.affine_ras, code=1)
    image.header.set_slope_inter(2.0, -100.0)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(freq=1, phase=0, slice=2)
    affine = image.header.get_best_affine()
    source = Source(kind="nifti", nifti_header=plant_secrets(image.header))
    return replace(scan, affine_ras=affine, source=source)


@pytest.fixture
def phantom() -> Phantom:
    return phantom_scan((40, 48, 12), oblique_degrees=(5.0, -8.0, 11.0), name="phantom case")


@pytest.fixture
def make_result(phantom: Phantom) -> MakeResult:
    def make(scan: Scan | None = None, peak: float = 0.9, threshold: float = 0.5, slice_axis: int = 2) -> CaseResult:
        scan = scan or phantom.scan
        rng = np.random.default_rng(3)
        score = (0.1 * rng.random(scan.shape, dtype=np.float32) + np.float32(peak - 0.1) * phantom.lesion_mask).astype(
            np.float32
        )
        spread = (0.1 * score).astype(np.float32)
        mask, lesions = find_lesions(apply_threshold(score, threshold), score, spread, scan, slice_axis)
        others = tuple(axis for axis in range(3) if axis != slice_axis)
        peaks = score.max(axis=others)
        return CaseResult(
            name=scan.name,
            outcome=Outcome.LESION if lesions else Outcome.NO_LESION,
            scan=scan,
            score=score,
            mask=mask,
            spread=spread,
            lesions=lesions,
            slices=tuple(SliceScore(n, True, float(p), float(p)) for n, p in enumerate(peaks)),
            slice_axis=slice_axis,
            threshold=threshold,
            threshold_provenance="phantoms, F1",
            window={"name": "percentiles", "low": 0.0, "high": float(scan.voxels.max()), "source": "test"},
            notes=("a <remark> & more",),
        )

    return make


@pytest.fixture
def model() -> ModelCard:
    return ModelCard(
        name="tiny",
        method="bayes_pfl",
        sha256="ab" * 32,
        clip_name="tiny-clip",
        clip_sha256="cd" * 32,
        samples=3,
        class_name="brain",
        threshold=0.5,
        threshold_provenance="phantoms, F1",
        license="MIT",
        source="tests",
        description="for <tests> only",
    )


@pytest.fixture
def manifest(model: ModelCard) -> RunManifest:
    return RunManifest(
        medzsad_version="0.1.0",
        model=model,
        device="cpu",
        precision="float32",
        config=RunConfig().model_dump(mode="json"),
        versions={"python": "3.11", "torch": "2.9"},
    )


def candidate_of(result: CaseResult, **changes: object) -> Candidate:
    """What discovery would have found for this result."""
    kind = result.scan.source.kind if result.scan else "nifti"
    candidate = Candidate(result.name, kind, (Path("/somewhere/private") / "a.nii.gz",), label="sub folder/a.nii.gz")
    return replace(candidate, **changes)  # type: ignore[arg-type]
