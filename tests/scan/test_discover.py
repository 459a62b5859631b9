import filecmp
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.data import get_testdata_file

from medzsad.errors import ConfigError, ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.names import file_case_name, unique_names
from medzsad.scan.reader import read_scan
from medzsad.scan.records import RESULTS_MARK, Candidate, ReadLimits
from tests.phantoms import SECRET_NAME, one_slice_dataset, phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits()
SMALL = (20, 24, 6)


def found(*paths: Path, **options: object) -> list[Candidate]:
    return discover(list(paths), limits=LIMITS, **options)  # type: ignore[arg-type]


def test_every_series_and_file_appears_whatever_their_folders(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "mixed", phantom_scan(SMALL), uid_seed="one")
    for file in (tmp_path / "mixed").iterdir():
        file.rename(file.with_name(f"one{file.stem}"))  # no ending: found by content
    write_dicom_series(tmp_path / "mixed", phantom_scan(SMALL), uid_seed="two")
    write_nifti(tmp_path / "deep" / "er.nii.gz" if (tmp_path / "deep").mkdir() else tmp_path / "deep/er.nii.gz")
    (tmp_path / "notes.txt").write_text("no scan", encoding="utf-8")
    candidates = found(tmp_path)
    assert [(c.kind, c.label, len(c.files)) for c in candidates] == [
        ("nifti", "deep/er.nii.gz", 1),
        ("dicom", "mixed", 6),
        ("dicom", "mixed", 6),
    ]
    assert all(c.eligible for c in candidates)
    assert candidates[1].shape == SMALL
    assert candidates[1].series_number == 7


def test_one_series_over_two_folders_is_one_candidate(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL))
    (tmp_path / "b").mkdir()
    for file in sorted((tmp_path / "a").iterdir())[:3]:
        file.rename(tmp_path / "b" / file.name)
    (candidate,) = found(tmp_path)
    assert candidate.shape == SMALL
    assert candidate.label == tmp_path.name


def test_dicom_without_preamble_is_found(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan(SMALL))
    for file in list(tmp_path.iterdir()):
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        pydicom.dcmwrite(tmp_path / file.stem, dataset, implicit_vr=True, little_endian=True)
        file.unlink()
    (candidate,) = found(tmp_path)
    assert (candidate.kind, candidate.shape, candidate.code) == ("dicom", SMALL, None)


def test_foreign_files_that_resemble_dicom_are_passed_over_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\x08\x00\x05\x00" + bytes(range(256)) * 4)
    assert found(tmp_path) == []
    assert found(tmp_path / "weights.bin")[0].code == ReasonCode.FILE_UNREADABLE


def test_text_in_place_of_a_uid_is_not_shown(tmp_path: Path) -> None:
    dataset = one_slice_dataset(phantom_scan().lesion_mask[:, :, 6].astype("uint8"))
    with pytest.warns(UserWarning, match="Invalid value"):
        dataset.SeriesInstanceUID = SECRET_NAME
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (candidate,) = found(tmp_path)
    assert SECRET_NAME not in repr(candidate)
    assert (candidate.series_uid or "").startswith("2.25.")


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.nii does not exist"):
        found(tmp_path / "nowhere.nii")


def test_empty_and_damaged_files_are_listed_but_foreign_ones_only_when_named(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.nii.gz", "c.png", "d.txt"):
        (tmp_path / name).touch()
    for name in ("e.dcm", "f.nii", "g.nrrd", "h.jpg"):
        (tmp_path / name).write_bytes(b"this is no such file, whatever its name says" * 10)
    codes = {c.label: c.code for c in found(tmp_path)}
    empty, damaged = ReasonCode.FILE_EMPTY, ReasonCode.FILE_UNREADABLE
    assert codes == dict.fromkeys(("a.dcm", "b.nii.gz", "c.png"), empty) | dict.fromkeys(
        ("e.dcm", "f.nii", "g.nrrd", "h.jpg"), damaged
    )
    (tmp_path / "i.txt").write_text("text", encoding="utf-8")
    assert [c.code for c in found(tmp_path / "d.txt", tmp_path / "i.txt")] == [empty, damaged]


@pytest.mark.parametrize(("size", "code"), [(0, ReasonCode.FILE_EMPTY), (131, ReasonCode.FILE_UNREADABLE)])
@pytest.mark.parametrize("name", ["IM{:04d}", "1.2.840.{}"])
def test_a_slice_cut_to_nothing_is_listed_although_its_name_has_no_ending(
    tmp_path: Path, name: str, size: int, code: ReasonCode
) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL), shuffle=False)
    for n, file in enumerate(sorted((tmp_path / "a").iterdir())):
        file.rename(file.with_name(name.format(n)))
    last = tmp_path / "a" / name.format(5)
    last.write_bytes(last.read_bytes()[:size])
    for foreign in ("a/.hidden", "a/notes.txt", "elsewhere"):
        (tmp_path / foreign).touch()
    cut, series = sorted(found(tmp_path), key=lambda c: c.eligible)
    assert (cut.label, cut.code) == (f"a/{last.name}", code)
    assert series.shape[2] == 5


def test_what_is_dicom_but_no_image_is_refused(tmp_path: Path) -> None:
    dataset = one_slice_dataset(phantom_scan().lesion_mask[:, :, 0].astype("uint8"))
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    dataset.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    (candidate,) = found(tmp_path)
    assert candidate.code == ReasonCode.NOT_AN_IMAGE
    assert "Comprehensive SR" in candidate.reason


def test_localizer_and_short_series_are_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    write_dicom_series(tmp_path / "b", phantom_scan((20, 24, 3)), uid_seed="short")
    localizer, short = found(tmp_path)
    assert localizer.code == ReasonCode.SERIES_LOCALIZER
    assert short.code == ReasonCode.SERIES_TOO_FEW_SLICES
    assert "3 of at least 4 slices" in short.reason


def test_a_localizer_among_slices_is_refused_on_its_own(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan(SMALL), shuffle=False)
    scout = pydicom.dcmread(tmp_path / "0001.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(tmp_path / "0001.dcm")
    localizer, series = sorted(found(tmp_path), key=lambda c: c.eligible)
    assert (localizer.code, localizer.files) == (ReasonCode.SERIES_LOCALIZER, (tmp_path / "0001.dcm",))
    assert series.eligible
    assert series.shape == (20, 24, 5)
    assert localizer.name != series.name


def test_two_radiographs_of_one_series_are_two_cases(tmp_path: Path) -> None:
    for n in (1, 2):
        dataset = one_slice_dataset((phantom_scan(seed=n).scan.voxels[:, :, 4] / 4).astype("uint8"), "CR")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{n}"
        dataset.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
    candidates = found(tmp_path)
    assert [c.eligible for c in candidates] == [True, True]
    assert len({c.name for c in candidates}) == 2


@pytest.mark.parametrize(
    ("folder", "codes"),
    [
        ("98892001/CT5N", [None]),
        ("98892001/CT2N", [ReasonCode.SERIES_LOCALIZER]),
        ("77654033/CT2", [ReasonCode.GEOMETRY_GAP]),
        ("98892003/MR1", [ReasonCode.SERIES_TOO_FEW_SLICES] * 3),
        ("98892003/MR700", [ReasonCode.GEOMETRY_MIXED_ORIENTATION]),
        ("77654033/CR1", [None]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_series_of_pydicom_get_the_right_verdict(folder: str, codes: list[ReasonCode | None]) -> None:
    tests = Path(get_testdata_file("CT_small.dcm")).parent / "dicomdirtests"
    assert [c.code for c in found(tests / folder)] == codes


@pytest.mark.parametrize("by", ["uid", "prefix", "number", "name"])
def test_series_are_chosen_by_uid_number_or_name(tmp_path: Path, by: str) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL), uid_seed="one", series_number=3)
    write_dicom_series(tmp_path / "b", phantom_scan(SMALL), uid_seed="two", series_number=4)
    _, wanted = found(tmp_path)
    uid = wanted.series_uid or ""
    wish = {"uid": uid, "prefix": uid[:-5], "number": "4", "name": wanted.name}[by]
    assert found(tmp_path, series=[wish]) == [wanted]


def test_a_series_that_is_not_there_is_a_usage_error_that_lists_what_is(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan(SMALL), series_number=3)
    with pytest.raises(ConfigError, match=r"--series 99 matches nothing.*series-.*SeriesNumber 3"):
        found(tmp_path, series=["99"])


def test_a_file_reached_twice_is_listed_once(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "again.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    assert len(found(tmp_path, tmp_path / "a.nii.gz", tmp_path)) == 1


def test_symlink_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "gone")
    write_nifti(tmp_path / "a" / "x.nii")
    assert [c.label for c in found(tmp_path)] == ["a/x.nii"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").chmod(0)
    (candidate,) = found(tmp_path)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "permissions" in candidate.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_that_may_not_be_entered_is_refused_once(tmp_path: Path, mode: int) -> None:
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "locked").mkdir()
    for name in ("a.nii", "b.nii"):
        write_nifti(tmp_path / "locked" / name)
    (tmp_path / "locked").chmod(mode)
    try:
        locked, free = found(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert (locked.label, locked.code) == ("locked", ReasonCode.FILE_UNREADABLE)
    assert free.eligible


def test_files_that_may_not_be_looked_at_bar_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked/below").mkdir(parents=True)
    for name in ("locked/a.nii", "locked/b.nii", "locked/below/c.nii", "x.nii"):
        write_nifti(tmp_path / name)
    real = Path.is_file

    def is_file(path: Path) -> bool:
        if "locked" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    locked, free = found(tmp_path)
    assert (locked.label, locked.code) == ("locked", ReasonCode.FILE_UNREADABLE)
    assert "permissions" in locked.reason
    assert free.eligible


def test_a_series_with_a_file_that_vanished_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL))
    (tmp_path / "a/copy.dcm").write_bytes((tmp_path / "a/0003.dcm").read_bytes())

    def cmp(*_: object, **__: object) -> bool:
        raise FileNotFoundError(2, "gone")

    monkeypatch.setattr(filecmp, "cmp", cmp)
    (candidate,) = found(tmp_path)
    assert (candidate.label, candidate.code) == ("a", ReasonCode.FILE_UNREADABLE)
    assert candidate.name.startswith("series-")


def test_order_does_not_depend_on_the_order_of_paths(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_nifti(tmp_path / f"{name}.nii")
    paths = [tmp_path / "b.nii", tmp_path / "a.nii"]
    assert found(*paths) == found(*paths[::-1])


def test_equal_places_below_different_paths_are_told_apart_in_any_order(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "FLAIR.nii.gz")
    files = [tmp_path / "b/FLAIR.nii.gz", tmp_path / "a/FLAIR.nii.gz"]
    by_file, by_folder = found(*files), found(tmp_path / "b", tmp_path / "a")
    assert [c.label for c in by_file] == ["a/FLAIR.nii.gz", "b/FLAIR.nii.gz"]
    assert by_file == found(*files[::-1]) == by_folder == found(tmp_path)
    assert [c.label for c in found(files[0])] == ["FLAIR.nii.gz"]


def test_a_file_below_two_paths_has_one_label_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "d/sub").mkdir(parents=True)
    write_nifti(tmp_path / "d/sub/x.nii")
    paths = [tmp_path / "d", tmp_path / "d/sub"]
    assert found(*paths) == found(*paths[::-1])


def test_series_in_folders_of_equal_name_are_told_apart(tmp_path: Path) -> None:
    for patient in ("one", "two"):
        write_dicom_series(tmp_path / patient / "CT", phantom_scan(SMALL), uid_seed=patient)
        for file in (tmp_path / patient / "CT").iterdir():
            file.rename(file.with_name(f"{patient}{file.name}"))
    for below in ("", "CT"):
        paths = [tmp_path / "two" / below, tmp_path / "one" / below]
        assert [c.label for c in found(*paths)] == ["one/CT", "two/CT"]
        assert found(*paths) == found(*paths[::-1])


def test_labels_of_paths_that_share_no_place_stay_short(tmp_path: Path) -> None:
    for name in ("a/x.nii", "b/y.nii"):
        (tmp_path / name).parent.mkdir()
        write_nifti(tmp_path / name)
    assert [c.label for c in found(tmp_path / "b", tmp_path / "a")] == ["x.nii", "y.nii"]


def test_names_that_are_not_utf8_can_be_shown_and_read(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    write_dicom_series(tmp_path, phantom_scan(SMALL))
    for file in list(tmp_path.iterdir()):
        file.rename(os.fsdecode(here + b"/M\xfcller" + os.fsencode(file.name)))
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "x.nii").rename(os.fsdecode(here + b"/\xfc.nii"))
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\n\n" + bytes(range(60))
    Path(os.fsdecode(here + b"/\xfc.nrrd")).write_bytes(header)
    dataset = one_slice_dataset(phantom_scan().lesion_mask[:, :, 6].astype("uint8"), "CR")
    del dataset.SOPInstanceUID
    for n in (1, 2):
        dataset.save_as(Path(os.fsdecode(here + b"/\xff%d.dcm" % n)), enforce_file_format=False)
    lenient = ReadLimits(allow_irregular=True, min_slices=9)
    for limits in (LIMITS, lenient, ReadLimits(min_slices=9), ReadLimits(max_voxels=5)):
        candidates = discover([tmp_path], limits=limits)
        for candidate in candidates:
            json.dumps([candidate.name, candidate.label, candidate.reason], ensure_ascii=False).encode()
            with suppress(RefusedError):
                read_scan(candidate, limits)
    refused = [c.reason for c in found(tmp_path) if not c.eligible]
    assert len(refused) == 1
    assert "not UTF-8" in refused[0]
    assert len(found(tmp_path)) == 5
    with pytest.raises(ConfigError) as missing:
        found(Path(os.fsdecode(here + b"/\xfd")))
    str(missing.value).encode()


def test_equal_stems_get_names_that_tell_them_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "FLAIR.nii.gz")
    Image.new("L", (4, 5)).save(tmp_path / "flair.png")
    names = [c.name for c in found(tmp_path)]
    assert len({name.casefold() for name in names}) == 3
    assert all(name.casefold().startswith("flair-") and len(name) == 14 for name in names)
    assert names == [c.name for c in found(tmp_path)]


def test_in_a_folder_of_results_only_results_are_passed_over(tmp_path: Path) -> None:
    out = tmp_path / "m"
    for folder in ("case", ".partial-case", "own", "own/case"):
        (out / folder).mkdir(parents=True)
    (out / RESULTS_MARK).touch()
    for name in ("scan.nii", "case/mask.nii.gz", ".partial-case/mask.nii.gz", "own/scan.nii", "own/case/x.nii"):
        write_nifti(out / name)
    for name in ("case/case.json", "own/case/case.json", "report.json", "report.csv", "report.html"):
        (out / name).write_text("{}", encoding="utf-8")
    assert [c.label for c in found(out)] == ["own/case/x.nii", "own/scan.nii", "scan.nii"]
    assert [c.label for c in found(tmp_path)] == ["m/own/case/x.nii", "m/own/scan.nii", "m/scan.nii"]
    assert [c.label for c in found(out / "case")] == ["mask.nii.gz"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Kopf größe 1.nii.gz", "Kopf_größe_1"),
        ("脳 スキャン.png", "脳_スキャン"),
        ("..hidden.nii", "hidden"),
        ("a:b*c?.png", "a-b-c-"),
        (".nii", "nii"),
        ("CON.png", "case-CON"),
        ("x" * 200 + ".nii", "x" * 80),
        ("noending", "noending"),
        ("report.json.nii.gz", "case-report.json"),
        ("Report.HTML.nii", "case-Report.HTML"),
        ("report.json2.nii", "report.json2"),
        ("nul.t1.nii.gz", "case-nul.t1"),
        ("com1.nii", "case-com1"),
        ("COM².nii", "case-COM²"),
        ("console.nii", "console"),
        ("x" * 79 + ".y.nii", "x" * 79),
        (". .nii", "_"),
        (".medzsad.nii", "medzsad"),
    ],
)
def test_case_names_are_safe_and_keep_letters(name: str, expected: str) -> None:
    assert file_case_name(name) == expected


def test_names_stay_unique_even_when_places_are_equal() -> None:
    names = unique_names(["a", "A", "b"], ["x", "x", "y"])
    assert len({name.casefold() for name in names}) == 3
    assert names[2] == "b"


def test_what_no_format_knows_is_counted_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_nifti(tmp_path / "a.nii", phantom_scan(SMALL))
    for name in ("anat+orig.HEAD", "anat+orig.BRIK.gz", "b.mif", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"something else")
    (tmp_path / "c.nii").symlink_to(tmp_path / "gone")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("inner/readme.md", b"text")
    caplog.set_level("INFO", "medzsad")
    candidates = found(tmp_path, unpack_dir=tmp_path / "out")
    assert [c.label for c in candidates] == ["a.nii"]
    labels = ("anat+orig.BRIK.gz", "anat+orig.HEAD", "b.mif", "c.nii", "d.zip/inner/readme.md", "notes.txt")
    assert candidates.not_understood == labels
    assert [record.getMessage() for record in caplog.records] == [f"Not understood: {label}" for label in labels]
    assert candidates.remark == "6 files were not understood; -v lists them."


def test_files_that_belong_to_a_scan_are_understood(tmp_path: Path) -> None:
    phantom = phantom_scan(SMALL)
    nib.save(nib.Nifti1Pair(phantom.scan.voxels, phantom.scan.affine_ras), tmp_path / "pair.img")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(phantom.scan.voxels), str(tmp_path / "x.mhd"))
    candidates = found(tmp_path)
    assert [c.label for c in candidates] == ["pair.hdr", "x.mhd"]
    assert candidates.not_understood == ()
    assert candidates.remark == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.mif", "with mrconvert, say"), ("a+orig.HEAD", "3dAFNItoNIFTI"), ("a.xyz", "Convert it first")],
)
def test_what_no_format_knows_is_refused_by_name(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"something else")
    (candidate,) = found(tmp_path / name)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert words in candidate.reason


def test_a_link_to_nothing_is_a_usage_error_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"a\.nii is a link to nothing"):
        found(tmp_path / "a.nii")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.dcm"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"pipe\.dcm is a pipe, a socket or a device"):
        discover([pipe], limits=ReadLimits())
    assert discover([tmp_path], limits=ReadLimits()).not_understood == ("pipe.dcm",)
