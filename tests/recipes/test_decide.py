"""The command that fits a decision on phantoms: what it stores, and that it goes on where it was."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import medzsad
from medzsad.errors import ConfigError
from medzsad.scan.records import Scan
from medzsad.weights.card import read_card
from medzsad.weights.store import save_weights
from recipes.medzsad_mini.decide import decide_weights, main
from tests import tiny
from tests.decisions import labeled_volume


@dataclass(frozen=True)
class _Phantom:
    mask: NDArray[np.bool_]
    family: str
    held: Scan

    def scan(self) -> Scan:
        return self.held


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the phantoms that were made."""
    seeds: list[int] = []

    def make_phantom(seed: int, *, lesion: bool) -> _Phantom:
        seeds.append(seed)
        labeled = labeled_volume(seed, lesion)
        return _Phantom(labeled.mask, "sphere", labeled.scan)

    monkeypatch.setitem(sys.modules, "medzsad.phantoms", SimpleNamespace(make_phantom=make_phantom))
    return seeds


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    card = tiny.card(samples=1, clip_config=tiny.CONFIG)
    save_weights(path, tiny.prompts(), card, tiny.tower())
    return path


def test_the_decision_is_stored_beside_the_same_tensors_and_drawn(
    weights: Path, made: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "decided.safetensors"
    done = CliRunner().invoke(main, [str(weights), "--volumes", "16", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "4 healthy and 4 with lesions" in done.output
    assert "12 healthy and 12 with lesions" in done.output  # two slices and another organ for each
    assert made == list(range(16))
    before, after = read_card(weights), read_card(out)
    assert after.decision is not None
    assert after.decision.volumes is not None
    assert after.decision.pictures is not None
    assert after.model_copy(update={"decision": None, "content_sha256": before.content_sha256}) == before
    scan = labeled_volume(3, lesion=True).scan
    scores = [medzsad.detect(scan, weights=str(path), threshold=0.5).score for path in (weights, out)]
    assert np.array_equal(*scores)
    assert medzsad.detect(scan, weights=str(out)).decision is not None
    for kind in ("volumes", "pictures"):
        assert out.with_suffix(f".operating-{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_fit_goes_on_and_ends_the_same(weights: Path, made: list[int], tmp_path: Path) -> None:
    whole = decide_weights(weights, tmp_path / "a.safetensors", 12, 0)
    rows = (tmp_path / "a.candidates.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    made.clear()
    # Seven rows, the last of them cut short by a kill.
    (tmp_path / "b.candidates.jsonl").write_text("".join(rows[:7]) + rows[7][:40], encoding="utf-8")
    assert decide_weights(weights, tmp_path / "b.safetensors", 12, 0) == whole
    assert made == list(range(6, 12))
    assert (tmp_path / "b.candidates.jsonl").read_text(encoding="utf-8") == "".join(rows)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_rows_of_other_weights_are_not_taken(weights: Path, made: list[int], tmp_path: Path) -> None:
    (tmp_path / "c.candidates.jsonl").write_text('{"fingerprint": "other"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="other weights"):
        decide_weights(weights, tmp_path / "c.safetensors", 12, 0)
    assert made == []
