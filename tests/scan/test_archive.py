import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.archive import _write, temporary_unpack_dir, unpack
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits
from tests.phantoms import phantom_scan, values_in_world, write_dicom_series, write_nifti

LIMITS = ReadLimits()


def tar_with(path: Path, **fields: object) -> None:
    info = tarfile.TarInfo(str(fields.pop("name", "a.nii")))
    for key, value in fields.items():
        setattr(info, key, value)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isfile() else None)


def zip_with(path: Path, name: str, content: bytes = b"x", mode: int = 0o100644) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.nii", b"x")
        archive.writestr(info, content)


def encrypted_zip(path: Path) -> None:
    zip_with(path, "a.nii", b"secret")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)


def lying_zip(path: Path) -> None:
    """Declares 10 bytes and holds 5 MB."""
    zip_with(path, "a.nii", b"\0" * 5_000_000)
    content = path.read_bytes()
    path.write_bytes(content.replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))


HOSTILE = {
    "traversal.zip": (lambda p: zip_with(p, "../escaped.nii"), ReasonCode.ARCHIVE_UNSAFE),
    "backslash.zip": (lambda p: zip_with(p, "..\\escaped.nii"), ReasonCode.ARCHIVE_UNSAFE),
    "absolute.zip": (lambda p: zip_with(p, "/tmp/escaped.nii"), ReasonCode.ARCHIVE_UNSAFE),
    "drive.zip": (lambda p: zip_with(p, "C:/escaped.nii"), ReasonCode.ARCHIVE_UNSAFE),
    "link.zip": (lambda p: zip_with(p, "a.nii", b"/etc/passwd", 0o120777), ReasonCode.ARCHIVE_UNSAFE),
    "bomb.zip": (lambda p: zip_with(p, "a.nii", b"\0" * 200_000_000), ReasonCode.ARCHIVE_UNSAFE),
    "lying.zip": (lying_zip, ReasonCode.FILE_UNREADABLE),
    "encrypted.zip": (encrypted_zip, ReasonCode.FILE_UNREADABLE),
    "not.zip": (lambda p: p.write_bytes(b"PK no archive at all"), ReasonCode.FILE_UNREADABLE),
    "not.tar.gz": (lambda p: p.write_bytes(b"\x1f\x8b no archive"), ReasonCode.FILE_UNREADABLE),
    "empty.zip": (lambda p: p.write_bytes(b""), ReasonCode.FILE_EMPTY),
    "traversal.tar.gz": (lambda p: tar_with(p, name="../../escaped.nii", size=1), ReasonCode.ARCHIVE_UNSAFE),
    "symlink.tgz": (lambda p: tar_with(p, type=tarfile.SYMTYPE, linkname="/etc/passwd"), ReasonCode.ARCHIVE_UNSAFE),
    "hardlink.tgz": (lambda p: tar_with(p, type=tarfile.LNKTYPE, linkname="/etc/passwd"), ReasonCode.ARCHIVE_UNSAFE),
    "device.tgz": (lambda p: tar_with(p, type=tarfile.CHRTYPE), ReasonCode.ARCHIVE_UNSAFE),
    "fifo.tgz": (lambda p: tar_with(p, type=tarfile.FIFOTYPE), ReasonCode.ARCHIVE_UNSAFE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_whole_and_leave_nothing(tmp_path: Path, name: str) -> None:
    make, code = HOSTILE[name]
    scans, unpacked = tmp_path / "scans", tmp_path / "deep" / "unpacked"
    scans.mkdir()
    make(scans / name)
    write_nifti(scans / "other.nii.gz", phantom_scan((12, 15, 9)))
    refused, other = sorted(discover([scans], limits=LIMITS, unpack_dir=unpacked), key=lambda c: c.eligible)
    assert (refused.code, refused.label) == (code, name)
    assert refused.reason
    assert other.eligible
    assert not unpacked.exists() or not list(unpacked.iterdir())
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_unpacked_size_is_limited(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.nii").write_bytes(bytes(3_000_000))
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(tmp_path / "x.nii", "x.nii")
    else:
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tmp_path / "x.nii", "x.nii")
    with pytest.raises(RefusedError, match="limit is 2000000") as refused:
        unpack(tmp_path / name, tmp_path / "out", name, 2_000_000)
    assert refused.value.code == ReasonCode.ARCHIVE_UNSAFE
    assert not (tmp_path / "out").exists()
    unpack(tmp_path / name, tmp_path / "out", name, 3_000_000)
    assert (tmp_path / "out/x.nii").stat().st_size == 3_000_000


def test_bytes_are_counted_while_they_are_written_whatever_the_directory_says(tmp_path: Path) -> None:
    assert _write(io.BytesIO(b"x" * 10), tmp_path / "fits", 12, "a.zip", 12) == 2
    with pytest.raises(RefusedError, match="more than 9 bytes"):
        _write(io.BytesIO(b"x" * 10), tmp_path / "too much", 9, "a.zip", 9)


@pytest.mark.parametrize("kept", range(5, 100, 10))
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_truncated_archives_are_refused(tmp_path: Path, name: str, kept: int) -> None:
    noise = np.random.default_rng(0).bytes(20_000)
    if name == "a.zip":
        zip_with(tmp_path / name, "a.nii", noise)
    else:
        (tmp_path / "a.nii").write_bytes(noise)
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(tmp_path / "a.nii", "a.nii")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * kept // 100])
    (refused,) = discover([tmp_path / name], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert refused.code == ReasonCode.FILE_UNREADABLE
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_scans_in_an_archive_are_found_with_a_label_that_names_it(tmp_path: Path, kind: str) -> None:
    import shutil

    phantom = phantom_scan((20, 24, 6))
    write_dicom_series(tmp_path / "in" / "kopf größe 1", phantom)
    write_nifti(tmp_path / "in" / "a.nii.gz", phantom)
    (tmp_path / "in" / "inner.zip").write_bytes(b"PK")
    archive = Path(shutil.make_archive(str(tmp_path / "all"), kind, tmp_path / "in"))
    with temporary_unpack_dir() as folder:
        nifti, inner, dicom = discover([archive], limits=LIMITS, unpack_dir=folder)
        assert nifti.label == f"{archive.name}/a.nii.gz"
        assert dicom.label == f"{archive.name}/kopf größe 1"
        assert inner.code == ReasonCode.ARCHIVE_UNSAFE
        for candidate in (nifti, dicom):
            values = values_in_world(read_scan(candidate, LIMITS), phantom.scan)
            np.testing.assert_allclose(values, phantom.scan.voxels, atol=0.51)
    assert not folder.exists()


def test_without_a_folder_to_unpack_into_an_archive_is_refused(tmp_path: Path) -> None:
    zip_with(tmp_path / "a.zip", "a.nii")
    assert discover([tmp_path], limits=LIMITS)[0].code == ReasonCode.ARCHIVE_UNSAFE


def tar_of(path: Path, mode: str, content: dict[str, bytes]) -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(("name", "mode"), [("a.tar.xz", "w:xz"), ("a.txz", "w:xz"), ("a.tar.bz2", "w:bz2")])
def test_tar_is_read_whatever_packs_it(tmp_path: Path, name: str, mode: str) -> None:
    phantom = phantom_scan((12, 15, 9))
    write_nifti(tmp_path / "x.nii", phantom)
    tar_of(tmp_path / name, mode, {"x.nii": (tmp_path / "x.nii").read_bytes()})
    (candidate,) = discover([tmp_path / name], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert candidate.label == f"{name}/x.nii"
    assert read_scan(candidate, LIMITS).shape == (12, 15, 9)


@pytest.mark.parametrize(("name", "mode"), [("a.tar.xz", "w:xz"), ("a.tar.bz2", "w:bz2"), ("a.tgz", "w:gz")])
def test_a_tar_that_fills_the_disk_is_refused_whatever_packs_it(tmp_path: Path, name: str, mode: str) -> None:
    tar_of(tmp_path / name, mode, {"a.nii": bytes(80_000_000)})
    with pytest.raises(RefusedError, match="as archives do that fill disks") as refused:
        unpack(tmp_path / name, tmp_path / "out", name, 10**12)
    assert refused.value.code == ReasonCode.ARCHIVE_UNSAFE
    assert not (tmp_path / "out").exists()


def test_a_damaged_tgz_is_not_called_a_bomb(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "w", {"a.nii": b"x" * 2000})
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[124:135] = b"77777777777"  # the size, 8 GB
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + sum(content[156:512]) + 8 * 32)  # the checksum
    import gzip

    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(RefusedError, match="is not a complete archive") as refused:
        unpack(tmp_path / "a.tgz", tmp_path / "out", "a.tgz", 10**9)
    assert refused.value.code == ReasonCode.FILE_UNREADABLE


def test_a_damaged_zip_is_not_called_a_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.nii", b"x" * 2000)
    content = (tmp_path / "a.zip").read_bytes()
    at = content.index(b"PK\x01\x02") + 24  # the unpacked size in the directory
    (tmp_path / "a.zip").write_bytes(content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :])
    with pytest.raises(RefusedError, match="is not a complete archive") as refused:
        unpack(tmp_path / "a.zip", tmp_path / "out", "a.zip", 10**9)
    assert refused.value.code == ReasonCode.FILE_UNREADABLE


def test_a_tar_with_a_damaged_header_in_its_middle_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "w", {f"{n}.nii": b"x" * 512 for n in range(4)})
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[2 * 1024 + 3] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(RefusedError, match="is not a complete archive"):
        unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar", 10**6)


def test_an_extended_header_of_a_tar_fills_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 100_000_000
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(RefusedError, match="is not a complete archive"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "a.tgz", 10**12)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_archives_of_many_empty_files_are_refused_at_once(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medzsad.scan.archive._MOST_EMPTY", 50)
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(600):
                archive.writestr(f"{number}.dcm", b"")
    else:
        tar_of(tmp_path / name, "w:gz", {f"{number}.dcm": b"" for number in range(600)})
    (refused,) = discover([tmp_path], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert refused.code == ReasonCode.FILE_EMPTY
    assert "501 empty files" in refused.reason


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_the_number_of_files_is_limited_and_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medzsad.scan.archive._MOST_MEMBERS", 20)
    content = {f"{number}.dcm": b"x" for number in range(21)}
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, data in content.items():
                archive.writestr(member, data)
        monkeypatch.setattr(zipfile, "ZipFile", None)  # its directory is not even read
    else:
        tar_of(tmp_path / name, "w:gz", content)
    with pytest.raises(RefusedError, match="more than 20 files, which is the limit") as refused:
        unpack(tmp_path / name, tmp_path / "out", name, 10**6)
    assert refused.value.code == ReasonCode.ARCHIVE_UNSAFE


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_an_archive_without_files_is_refused(tmp_path: Path, name: str) -> None:
    if name == "a.zip":
        zipfile.ZipFile(tmp_path / name, "w").close()
    else:
        tar_of(tmp_path / name, "w:gz", {})
    (refused,) = discover([tmp_path], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert (refused.code, refused.label) == (ReasonCode.FILE_EMPTY, name)
    assert "without any file" in refused.reason


def test_a_file_and_a_folder_of_the_same_name_are_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "w", {"a": b"x", "a/b": b"x"})
    with pytest.raises(RefusedError, match="two files of the same name"):
        unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar", 10**6)


def test_a_zip_packed_in_a_way_that_does_not_exist_is_damaged(tmp_path: Path) -> None:
    zip_with(tmp_path / "a.zip", "a.nii", b"x" * 2000)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    at = content.rindex(b"PK\x01\x02") + 10
    content[at : at + 2] = b"\x63\x00"
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RefusedError, match="is not a complete archive") as refused:
        unpack(tmp_path / "a.zip", tmp_path / "out", "a.zip", 10**9)
    assert refused.value.code == ReasonCode.FILE_UNREADABLE


def test_a_few_empty_files_are_refused_one_by_one(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "w", {"a.dcm": b"", "b.dcm": b"", "c.txt": b"text"})
    candidates = discover([tmp_path], limits=LIMITS, unpack_dir=tmp_path / "out")
    assert [(c.label, c.code) for c in candidates] == [
        ("a.tar/a.dcm", ReasonCode.FILE_EMPTY),
        ("a.tar/b.dcm", ReasonCode.FILE_EMPTY),
    ]
