"""One result to its folder, and back."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medzsad.config import RunConfig
from medzsad.errors import OutputError, ReasonCode
from medzsad.output import writers
from medzsad.output.case import read_case, write_case
from medzsad.output.facts import CaseFacts
from medzsad.output.report import csv_text
from medzsad.output.schema import CaseRecord
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits, Source
from medzsad.volume.records import CaseResult, Outcome
from medzsad.weights.card import ModelCard
from tests.output.conftest import SECRETS, MakeResult, candidate_of, with_nifti_header
from tests.phantoms import Phantom, write_dicom_series

KEY = "0123"
CONTENT = "c" * 64


def _write(result: CaseResult, out: Path, model: ModelCard, **options: object) -> CaseRecord:
    config = RunConfig.model_validate(options)
    return write_case(result, out, CaseFacts(candidate_of(result), CONTENT, KEY, config, model))


def test_a_case_is_written_whole_and_read_back_as_written(
    make_result: MakeResult, model: ModelCard, tmp_path: Path
) -> None:
    result = make_result()
    record = _write(result, tmp_path / "out", model)
    folder = tmp_path / "out" / "phantom case"
    assert {path.name for path in folder.iterdir()} == {"mask.nii.gz", "score.nii.gz", "montage.png", "case.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["phantom case"]
    assert read_case(tmp_path / "out", "phantom case") == record
    values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    assert values["outcome"] == "lesion"
    assert values["schema_version"] == "2.1"
    assert values["input"]["shape"] == list(result.scan.shape)  # type: ignore[union-attr]
    assert values["input"]["plane"] == "axial"
    assert values["input"]["affine_ras"] == pytest.approx(result.scan.affine_ras, abs=1e-6)  # type: ignore[union-attr]
    assert values["lesions"][0]["volume_mm3"] == pytest.approx(result.lesions[0].volume_mm3, abs=1e-3)
    assert len(values["slices"]) == result.scan.shape[2]  # type: ignore[union-attr]
    assert values["model"] == {"name": "tiny", "sha256": "ab" * 32}
    assert set(values["files"]) == {"mask.nii.gz", "score.nii.gz", "montage.png"}


def test_a_record_of_schema_2_0_is_still_read(make_result: MakeResult, model: ModelCard, tmp_path: Path) -> None:
    _write(make_result(), tmp_path, model)
    path = tmp_path / "phantom case" / "case.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["schema_version"] = "2.0"
    del values["decision"]
    for lesion in values["lesions"]:
        del lesion["probability"], lesion["healthy_share"]
    path.write_text(json.dumps(values), encoding="utf-8")
    record = read_case(tmp_path, "phantom case")
    assert record is not None
    assert (record.schema_version, record.decision, record.lesions[0].probability) == ("2.0", None, None)


def test_a_healthy_case_has_a_mask_of_zeros(make_result: MakeResult, model: ModelCard, tmp_path: Path) -> None:
    record = _write(make_result(threshold=0.95), tmp_path, model, score_dtype="float16-scaled")
    assert record.outcome is Outcome.NO_LESION
    content = gzip.decompress((tmp_path / record.name / "mask.nii.gz").read_bytes())[352:]
    assert not np.frombuffer(content, dtype=np.uint8).any()


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.FAILED])
def test_a_case_without_result_has_its_record_alone(outcome: Outcome, model: ModelCard, tmp_path: Path) -> None:
    code = ReasonCode.GEOMETRY_GAP if outcome is Outcome.REFUSED else None
    result = CaseResult("sad", outcome, code=code, message="a slice is missing")
    record = _write(result, tmp_path, model)
    assert [path.name for path in (tmp_path / "sad").iterdir()] == ["case.json"]
    assert read_case(tmp_path, "sad") == record
    assert record.code == code
    assert record.threshold is None


def test_writing_again_gives_the_same_bytes(make_result: MakeResult, model: ModelCard, tmp_path: Path) -> None:
    for out in ("a", "b", "b"):
        _write(make_result(), tmp_path / out, model)
    for path in (tmp_path / "a" / "phantom case").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "phantom case" / path.name).read_bytes(), path.name


def test_a_refusal_replaces_an_earlier_result_whole(make_result: MakeResult, model: ModelCard, tmp_path: Path) -> None:
    _write(make_result(), tmp_path, model)
    _write(CaseResult("phantom case", Outcome.FAILED, message="broken"), tmp_path, model)
    assert [path.name for path in (tmp_path / "phantom case").iterdir()] == ["case.json"]


def _damage(folder: Path, how: str) -> None:
    record = folder / "case.json"
    text = record.read_text(encoding="utf-8")
    mask = folder / "mask.nii.gz"
    match how:
        case "record gone":
            record.unlink()
        case "record cut":
            record.write_text(text[: len(text) // 2], encoding="utf-8")
        case "not JSON bytes":
            record.write_bytes(b"\xff\xfe\x00")
        case "other schema":
            record.write_text(text.replace('"2.1"', '"1.0"', 1), encoding="utf-8")
        case "other name":
            record.write_text(text.replace("phantom case", "other case"), encoding="utf-8")
        case "mask gone":
            mask.unlink()
        case "mask changed":
            mask.write_bytes(mask.read_bytes()[:-1] + b"x")
        case "mask not listed":
            values = json.loads(text)
            del values["files"]["mask.nii.gz"]
            record.write_text(json.dumps(values), encoding="utf-8")
        case "file elsewhere":
            values = json.loads(text)
            values["files"]["../x"] = values["files"]["mask.nii.gz"]
            (folder.parent / "x").write_bytes(mask.read_bytes())
            record.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "how",
    [
        "record gone", "record cut", "not JSON bytes", "other schema", "other name",
        "mask gone", "mask changed", "mask not listed", "file elsewhere",
    ],
)  # fmt: skip
def test_a_damaged_case_does_not_count_as_done(
    make_result: MakeResult, model: ModelCard, tmp_path: Path, how: str
) -> None:
    _write(make_result(), tmp_path, model)
    assert read_case(tmp_path, "phantom case") is not None
    _damage(tmp_path / "phantom case", how)
    assert read_case(tmp_path, "phantom case") is None


def test_a_file_that_reads_back_differently_leaves_the_old_result(
    make_result: MakeResult, model: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _write(make_result(), tmp_path, model)
    real = writers.write_mask
    monkeypatch.setattr(writers, "write_mask", lambda path, mask, scan: real(path, 0 * mask, scan))
    with pytest.raises(OutputError, match=r"mask\.nii\.gz holds 0 voxels"):
        _write(make_result(), tmp_path, model)
    assert read_case(tmp_path, "phantom case") == before
    assert [path.name for path in tmp_path.iterdir()] == ["phantom case"]


def test_an_outcome_that_contradicts_the_mask_is_not_written(
    make_result: MakeResult, model: ModelCard, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="contradicts itself"):
        _write(replace(make_result(), outcome=Outcome.NO_LESION), tmp_path, model)
    with pytest.raises(OutputError, match="brings no scan"):
        _write(replace(make_result(), score=None), tmp_path, model)
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_not_a_number_is_an_error_and_not_a_null(
    make_result: MakeResult, model: ModelCard, tmp_path: Path
) -> None:
    result = make_result()
    broken = replace(result, slices=(replace(result.slices[0], image_score=float("nan")),))
    with pytest.raises(OutputError, match=r"slices|image_score"):
        _write(broken, tmp_path, model)


def test_an_output_folder_that_is_a_file_is_told(make_result: MakeResult, model: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="could not be written"):
        _write(make_result(), tmp_path / "out", model)


def test_nothing_of_the_patient_gets_into_any_file(
    make_result: MakeResult, model: ModelCard, phantom: Phantom, tmp_path: Path
) -> None:
    result = make_result(with_nifti_header(phantom.scan))
    _write(result, tmp_path, model)
    for path in (tmp_path / "phantom case").iterdir():
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        for secret in (*SECRETS, "/somewhere/private"):
            assert secret.encode() not in content, path.name


def test_uids_of_a_dicom_series_are_left_out_unless_they_are_asked_for(
    make_result: MakeResult, model: ModelCard, phantom: Phantom, tmp_path: Path
) -> None:
    uid = "1.2.826.0.1.3680043.8.498.1"
    uids = tuple(f"2.25.{k}" for k in range(phantom.scan.shape[2]))
    scan = replace(phantom.scan, source=Source("dicom", series_uid=uid, sop_instance_uids=uids))
    record = _write(make_result(scan), tmp_path, model)
    text = (tmp_path / record.name / "case.json").read_text(encoding="utf-8")
    assert uid not in text
    assert record.input.series_uid_sha256_10 is not None
    assert len(record.input.series_uid_sha256_10) == 10
    first, last = record.lesions[0].slice_first, record.lesions[0].slice_last
    assert record.lesions[0].sop_instance_uids == ()
    assert not [one for one in uids if one in text]
    assert not [one for one in uids if one in csv_text([record])]
    asked = _write(make_result(scan), tmp_path, model, with_uids=True)
    assert asked.lesions[0].sop_instance_uids == uids[first : last + 1]
    assert " ".join(uids[first : last + 1]) in csv_text([asked])


def test_nothing_of_a_dicom_header_gets_into_any_file(
    make_result: MakeResult, model: ModelCard, phantom: Phantom, tmp_path: Path
) -> None:
    write_dicom_series(tmp_path / "in" / "series", phantom)
    stored = b"".join(path.read_bytes() for path in sorted((tmp_path / "in" / "series").iterdir()))
    assert all(secret.encode() in stored for secret in SECRETS)
    candidate = discover([tmp_path / "in"], limits=ReadLimits(), unpack_dir=tmp_path / "unpacked")[0]
    scan = read_scan(candidate, ReadLimits())
    result = replace(make_result(scan), name=candidate.name)
    record = write_case(result, tmp_path / "out", CaseFacts(candidate, CONTENT, KEY, RunConfig(), model))
    assert record.input.kind == "dicom"
    for path in (tmp_path / "out" / candidate.name).iterdir():
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        for secret in (*SECRETS, candidate.series_uid or "?", str(tmp_path)):
            assert secret.encode() not in content, path.name
