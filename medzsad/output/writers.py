"""The files of a result, one writer each. A new kind of file is a `Writer` and its place in `WRITERS`."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from medzsad.drawing.montage import montage_image
from medzsad.errors import OutputError
from medzsad.output.facts import CaseFacts
from medzsad.output.nifti import write_mask, write_score
from medzsad.output.paths import CasePaths
from medzsad.output.verify import verify_mask, verify_score
from medzsad.scan.records import Scan
from medzsad.volume.records import CaseResult

# "dicom_source": the scan was read from DICOM. "regular_grid": every slice of the scan's grid was acquired.
Need = Literal["dicom_source", "regular_grid"]


class Writer(Protocol):
    """Makes files of a result that was scored.

    Attributes:
        name: What it writes, in a word; unique.
        needs: What a scan must bring; a scan that lacks any of it is passed over.
    """

    name: str
    needs: frozenset[Need]

    def write(self, result: CaseResult, folder: Path, facts: CaseFacts) -> tuple[Path, ...]:
        """The files that it has made in `folder`; the same result gives the same bytes."""
        ...

    def verify(self, result: CaseResult, folder: Path) -> None:
        """Reads the files back and passes if they hold the result.

        Raises:
            OutputError: They do not.
        """
        ...


class MaskWriter:
    """mask.nii.gz: 0 and 1 in the scan's grid."""

    name = "mask"
    needs: frozenset[Need] = frozenset()

    def write(self, result: CaseResult, folder: Path, facts: CaseFacts) -> tuple[Path, ...]:
        """The mask."""
        scan, mask, _ = scored(result)
        write_mask(CasePaths(folder).mask, mask, scan)
        return (CasePaths(folder).mask,)

    def verify(self, result: CaseResult, folder: Path) -> None:
        """Compares every voxel and the affine."""
        scan, mask, _ = scored(result)
        verify_mask(CasePaths(folder).mask, mask, scan)


class ScoreWriter:
    """score.nii.gz: scores in the scan's grid."""

    name = "score"
    needs: frozenset[Need] = frozenset()

    def write(self, result: CaseResult, folder: Path, facts: CaseFacts) -> tuple[Path, ...]:
        """The score."""
        scan, _, score = scored(result)
        write_score(CasePaths(folder).score, score, scan, facts.config.score_dtype)
        return (CasePaths(folder).score,)

    def verify(self, result: CaseResult, folder: Path) -> None:
        """Compares every voxel and the affine."""
        scan, _, score = scored(result)
        verify_score(CasePaths(folder).score, score, scan)


class MontageWriter:
    """montage.png: the slices with the highest scores."""

    name = "montage"
    needs: frozenset[Need] = frozenset()

    def write(self, result: CaseResult, folder: Path, facts: CaseFacts) -> tuple[Path, ...]:
        """The picture."""
        path = CasePaths(folder).montage
        montage_image(result, model_name=facts.model.name).save(path, format="PNG", compress_level=2)
        return (path,)

    def verify(self, result: CaseResult, folder: Path) -> None:
        """Passes; a picture for reading holds no number that anybody computes with."""


WRITERS: tuple[Writer, ...] = (MaskWriter(), ScoreWriter(), MontageWriter())


def applies(writer: Writer, scan: Scan) -> bool:
    """Whether the scan brings all that the writer needs."""
    brought: set[Need] = set()
    if scan.source.kind == "dicom":
        brought.add("dicom_source")
    if not scan.missing_slices:
        brought.add("regular_grid")
    return writer.needs <= brought


def scored(result: CaseResult) -> tuple[Scan, NDArray[np.uint8], NDArray[np.float32]]:
    """Scan, mask and score of a result.

    Raises:
        OutputError: One of them is absent.
    """
    if result.scan is None or result.mask is None or result.score is None:
        raise OutputError(f"Case {result.name} ended as {result.outcome} but brings no scan, mask or score.")
    return result.scan, result.mask, result.score
