"""Class names: a word that the weights do not know is never passed over in silence."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from medzsad.cli import main
from medzsad.evaluation.protocol import RawScore, find_protocol, image_scores
from medzsad.progress import Silent
from medzsad.training.train import train
from medzsad.weights.card import read_card
from tests.phantoms import phantom_scan, write_nifti
from tests.training.tiny_training import config


def _command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_run_with_an_unknown_word_ends_with_2_and_the_known_ones(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", phantom_scan(name="scan"))
    done = _command("run", tmp_path / "scan.nii.gz", "-o", tmp_path / "out", "--class-name", "xyzzy")
    assert done.exit_code == 2
    assert "'xyzzy'" in done.output
    assert {"brain", "liver", "thyroid"} <= set(done.output.replace(",", " ").replace(".", " ").split())


def test_an_evaluation_with_an_unknown_class_ends_before_it_scores_and_names_the_way_out(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for kind in ("test/good", "test/hole", "ground_truth/hole", "train/good"):
        (root / "zipper" / kind).mkdir(parents=True)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:9, 4:9] = 255
    Image.new("RGB", (32, 32)).save(root / "zipper" / "test" / "good" / "000.png")
    Image.new("RGB", (32, 32)).save(root / "zipper" / "test" / "hole" / "000.png")
    Image.fromarray(mask).save(root / "zipper" / "ground_truth" / "hole" / "000_mask.png")
    command = ("evaluate", "--benchmark", "mvtec", "--data", root, "-o", tmp_path / "out")
    done = _command(*command)
    assert done.exit_code == 2, done.output
    assert "'zipper'" in done.output
    assert "--class-name" in done.output
    assert "screw" in done.output
    done = _command(*command, "--class-name", "object")
    assert done.exit_code == 0, done.output


def test_a_protocol_of_the_methods_own_takes_its_image_score_as_it_is() -> None:
    raw = [RawScore(0.2, 0.5, 0.9), RawScore(0.4, 0.1, 0.3)]
    cops = find_protocol("cops")
    assert image_scores(cops.measuring(methods_own=True), raw, classification=False) == [0.2, 0.4]
    assert image_scores(cops.measuring(methods_own=False), raw, classification=False) == pytest.approx([0.27, 0.39])
    fused = find_protocol("bayes-pfl").measuring(methods_own=True)
    assert image_scores(fused, raw, classification=False) == pytest.approx([0.5, 0.5])
    assert "that of the method itself" in cops.measuring(methods_own=True).describe()


class _Notes(Silent):
    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, text: str) -> None:
        self.found.append(text)


def test_a_training_notes_the_words_that_its_tower_does_not_know(tmp_path: Path) -> None:
    observer = _Notes()
    path = train(config(tmp_path, epochs=1), tmp_path / "out", observer)
    assert path is not None
    unknown = read_card(path).provenance["data"]["unknown_words"]
    assert "nut" in unknown
    assert unknown == sorted(unknown)
    assert [text for text in observer.found if "no embedding for" in text and "nut" in text]
    assert json.loads(read_card(path).to_json())["provenance"]["data"]["unknown_words"] == unknown
