"""Scans come from folders, or are fetched one by one; the caller does not see which."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from medzsad.errors import ConfigError
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, Candidates, ReadLimits
from medzsad.scan.sources import FolderSource, ScanSource
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits()
SHAPE = (12, 15, 9)


@dataclass(frozen=True, slots=True)
class FarSource:
    """Stands for a server: lists series without their files, and copies the files of one when it is opened."""

    server: Path

    def candidates(self, limits: ReadLimits) -> Candidates:
        return Candidates(replace(one, files=()) for one in discover([self.server], limits=limits))

    def opened(self, candidate: Candidate, into: Path) -> AbstractContextManager[Candidate]:
        return self._fetched(candidate, into / candidate.name)

    @contextmanager
    def _fetched(self, candidate: Candidate, folder: Path) -> Iterator[Candidate]:
        shutil.copytree(self.server / candidate.label, folder)
        try:
            yield replace(candidate, files=tuple(sorted(folder.iterdir())))
        finally:
            shutil.rmtree(folder)


def read_all(source: ScanSource, into: Path) -> list[tuple[str, float]]:
    done = []
    for candidate in source.candidates(LIMITS):
        with source.opened(candidate, into) as local:
            done.append((candidate.name, float(read_scan(local, LIMITS).voxels.sum())))
    return done


def test_a_source_that_fetches_each_series_gives_the_scans_of_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dicom_series(tmp_path / "server" / name, phantom_scan(SHAPE, seed=len(name)), uid_seed=name)
    (tmp_path / "into").mkdir()
    near = read_all(FolderSource((tmp_path / "server",)), tmp_path / "into")
    assert read_all(FarSource(tmp_path / "server"), tmp_path / "into") == near
    assert len(near) == 2
    assert list((tmp_path / "into").iterdir()) == []


def test_a_folder_source_lists_what_discover_does(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", phantom_scan(SHAPE))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(tmp_path / "a.nii", "x/c.nii")
    (tmp_path / "notes.txt").write_text("no scan", encoding="utf-8")
    with temporary_unpack_dir() as folder:
        source = FolderSource((tmp_path,), unpack_dir=folder)
        found = source.candidates(LIMITS)
        assert found == discover([tmp_path], limits=LIMITS, unpack_dir=folder)
        assert [one.label for one in found] == ["a.nii", "b.zip/x/c.nii"]
        assert found.not_understood == ("notes.txt",)
        with source.opened(found[1], folder) as local:
            np.testing.assert_array_equal(read_scan(local, LIMITS).voxels, phantom_scan(SHAPE).scan.voxels)


def test_a_folder_source_keeps_what_was_asked_for(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        write_nifti(tmp_path / name, phantom_scan(SHAPE))
    assert [one.name for one in FolderSource((tmp_path,), series=("b",)).candidates(LIMITS)] == ["b"]
    with pytest.raises(ConfigError, match="--series c matches nothing"):
        FolderSource((tmp_path,), series=("c",)).candidates(LIMITS)
