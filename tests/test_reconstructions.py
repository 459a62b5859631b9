"""The self-check of the reconstructions runs, says what it measured, and finds what holds by construction."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import reconstruction_claims as claims
import reconstruction_noise as noise
import reconstruction_window as window
import reconstructions

SEED = 7


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_quick_run_prints_every_claim_and_writes_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = CliRunner().invoke(
        reconstructions.main, ["--seeds", str(SEED), "--scale", "0.05", "--output", str(path)], catch_exceptions=False
    )
    assert done.exit_code == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["seeds"] == [SEED]
    assert list(found["parts"]) == ["PILOT", "OAGM", "MPTS", "LAA"]
    for part in found["parts"].values():
        for one in part["claims"]:
            assert done.stdout.count(f"| {one['claim']} |") == 1
            assert one["holds"] is (one["won"] == 1)
            assert {name: part["figures"][name] for name in one["means"]} == {
                name: [value] for name, value in one["means"].items()
            }
        assert all(value >= 0 for values in part["figures"].values() for value in values)


def test_all_figures_come_again_with_the_seed() -> None:
    for part in reconstructions.all_parts(0.02).values():
        assert part.measure(SEED) == part.measure(SEED)


def test_noise_stays_inside_the_true_object() -> None:
    _, scored = noise.scenes(SEED, 20)
    assert noise.pixels_outside(scored, anywhere=False, seed=SEED) == 0
    assert noise.pixels_outside(scored, anywhere=True, seed=SEED) > 20


def test_nothing_reaches_beyond_the_window_that_reaches_there_without_it() -> None:
    found = window.reach(window.random_tower(SEED), SEED)
    assert found["beyond: with window"] == 0
    assert min(found["beyond: without window"], found["within: with window"]) > 1e-3


def test_a_claim_holds_in_five_of_six() -> None:
    higher = claims.Claim("a beats b", {"a": "a", "b": "b"})
    runs = [{"a": 0.9, "b": 0.8}] * 5 + [{"a": 0.8, "b": 0.8}]
    assert claims.judged(higher, runs).holds
    assert not claims.judged(higher, runs[1:] + runs[-1:]).holds
    verdict = claims.judged(claims.Claim("no a", {"a": "a", "b": "b"}, "zero"), [{"a": 0.0, "b": 2e-5}])
    assert verdict.holds
    assert claims.table({"x": [verdict]}).endswith("| x | no a | a 0.000, b 2e-05 | 1 of 1 | yes |")


@pytest.mark.parametrize("text", ["", "5..", "9..3", "a..b", "1,2"])
def test_seeds_that_are_no_range_are_refused(text: str) -> None:
    done = CliRunner().invoke(reconstructions.main, ["--seeds", text])
    assert done.exit_code == 2
    assert "100..105" in done.output
