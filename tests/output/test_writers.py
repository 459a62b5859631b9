"""Files of a result, one writer each."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medzsad.config import RunConfig
from medzsad.errors import OutputError
from medzsad.output.case import read_case, write_case
from medzsad.output.facts import CaseFacts
from medzsad.output.writers import WRITERS, Need, Writer, applies
from medzsad.scan.records import Source
from medzsad.volume.records import CaseResult, Outcome
from medzsad.weights.card import ModelCard
from tests.output.conftest import MakeResult, candidate_of
from tests.phantoms import Phantom


@dataclass
class _Words:
    needs: frozenset[Need] = frozenset()
    wrong: bool = False
    name: str = "words"

    def write(self, result: CaseResult, folder: Path, facts: CaseFacts) -> tuple[Path, ...]:
        (folder / "words.txt").write_text(f"{result.name} {facts.config.seed}", encoding="utf-8")
        return (folder / "words.txt",)

    def verify(self, result: CaseResult, folder: Path) -> None:
        if self.wrong:
            raise OutputError("words.txt reads back differently.")


def _write(result: CaseResult, out: Path, model: ModelCard, writers: tuple[Writer, ...]) -> set[str]:
    facts = CaseFacts(candidate_of(result), "c" * 64, "k", RunConfig(seed=3), model)
    return set(write_case(result, out, facts, writers).files)


def test_a_further_writer_adds_its_file_and_the_record_holds_its_digest(
    make_result: MakeResult, model: ModelCard, tmp_path: Path
) -> None:
    result = make_result()
    assert _write(result, tmp_path, model, (*WRITERS, _Words())) == {
        "mask.nii.gz", "score.nii.gz", "montage.png", "words.txt",
    }  # fmt: skip
    assert (tmp_path / result.name / "words.txt").read_text(encoding="utf-8") == "phantom case 3"
    assert read_case(tmp_path, result.name) is not None
    (tmp_path / result.name / "words.txt").write_text("others", encoding="utf-8")
    assert read_case(tmp_path, result.name) is None


def test_a_writer_is_passed_over_where_the_scan_lacks_what_it_needs(phantom: Phantom) -> None:
    dicom = replace(phantom.scan, source=Source("dicom"))
    nifti = replace(phantom.scan, source=Source("nifti"))
    both, regular = _Words(frozenset({"dicom_source", "regular_grid"})), _Words(frozenset({"regular_grid"}))
    assert [applies(both, scan) for scan in (dicom, nifti)] == [True, False]
    assert [applies(regular, scan) for scan in (dicom, nifti)] == [True, True]
    assert not applies(both, replace(dicom, missing_slices=(3,)))
    assert not applies(regular, replace(nifti, missing_slices=(3,)))
    assert applies(_Words(), replace(nifti, missing_slices=(3,)))


def test_a_file_that_does_not_verify_leaves_no_result(
    make_result: MakeResult, model: ModelCard, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="reads back differently"):
        _write(make_result(), tmp_path, model, (_Words(wrong=True),))
    assert not list(tmp_path.iterdir())


def test_a_case_that_was_not_scored_reaches_no_writer(model: ModelCard, tmp_path: Path) -> None:
    refused = CaseResult("sad", Outcome.REFUSED, message="a slice is missing")
    assert _write(refused, tmp_path, model, (_Words(),)) == set()


def test_writers_have_names_of_their_own() -> None:
    assert len({writer.name for writer in WRITERS}) == len(WRITERS)
