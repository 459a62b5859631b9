"""A method that is known to the registry alone passes through every command."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from medzsad.cli import main
from medzsad.clip.tower import Tower
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods import registry
from medzsad.methods.registry import METHODS, find_method, method_names
from medzsad.training.train import train
from medzsad.weights.card import read_card
from medzsad.weights.imported import import_weights
from medzsad.weights.load import load_detector
from medzsad.weights.store import read_weights, save_weights
from tests import tiny
from tests.phantoms import phantom_scan, write_nifti
from tests.toy_method import METHOD, Toy
from tests.training.tiny_training import config, options, write_pictures


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(METHODS, "toy", "tests.toy_method:METHOD")
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path / "cache"))


def _command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def _weights(folder: Path) -> Path:
    path = folder / "toy.safetensors"
    torch.manual_seed(0)
    card = tiny.card(method="toy", options={}, class_name="", clip_config=tiny.CONFIG, samples=1)
    save_weights(path, Toy(width=tiny.VISION_WIDTH), card, tiny.tower())
    return path


def _checkpoint(path: Path, **changes: object) -> Path:
    state = {"direction": torch.randn(tiny.VISION_WIDTH), "bias": torch.zeros(())}
    torch.save({"toy": state | changes}, path)
    return path


def test_it_scores_a_scan(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    write_nifti(scan, phantom_scan(name="scan"))
    done = _command("run", scan, "-o", tmp_path / "out", "--weights", _weights(tmp_path), "--threshold", "0.5")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["manifest"]["model"]["method"] == "toy"
    assert report["manifest"]["model"]["class_name"] == ""
    assert [case["outcome"] for case in report["cases"]] in (["lesion"], ["no_lesion"])


def test_a_class_name_is_refused_with_a_sentence(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    write_nifti(scan, phantom_scan(name="scan"))
    command = ("run", scan, "-o", tmp_path / "out", "--weights", _weights(tmp_path))
    done = _command(*command, "--class-name", "brain")
    assert done.exit_code == 2, done.output
    assert "Toy uses no class name" in done.output
    done = _command(*command, "--samples", "3")
    assert done.exit_code == 2, done.output
    assert "samples no prompts" in done.output


def test_it_learns_and_is_resumed_and_used(tmp_path: Path) -> None:
    given = options(tmp_path, method="toy", options={"rate": 0.02}, epochs=4)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(given))
    done = _command("train", tmp_path / "train.yaml", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    path = tmp_path / "out" / "weights.safetensors"
    card = read_card(path)
    assert (card.method, card.options, card.class_name) == ("toy", {"sharpness": 1.0}, "")
    losses = [record["losses"]["pixels"] for record in json.loads((tmp_path / "out" / "history.json").read_text())]
    assert losses[-1] < losses[0]
    again = train(config(tmp_path, **given, start=str(path)), tmp_path / "further")
    assert again is not None
    assert load_detector(again).card.provenance["config"]["method"] == "toy"


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rates'.*'rate'"):
        train(config(tmp_path, method="toy", options={"rates": 1}), tmp_path / "out")


def test_it_is_evaluated(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", per_label=3)
    done = _command(
        "evaluate", "--benchmark", "mvtec", "--data", root, "-o", tmp_path / "out", "--weights", _weights(tmp_path)
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"]["method"] == "toy"
    assert 0 < found["benchmarks"][0]["mean"]["pixel_auroc"]["value"] <= 1


def test_its_files_are_imported_verified_and_used(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "mine.pth")
    done = _command("weights", "import", path)
    assert done.exit_code == 0, done.output
    installed = tmp_path / "cache" / "mine.safetensors"
    assert done.output.strip() == str(installed)
    assert read_weights(installed).card.options == {"sharpness": 2.0}
    assert "Weights of Toy in the authors' format" in _command("weights", "verify", path).output
    assert "Weights of Toy called mine" in _command("weights", "verify", installed).output
    assert "Weights of Toy called mine" in _command("weights", "verify", "mine").output
    tower = tmp_path / "tower.safetensors"
    save_file(tiny.tower().state_dict(), tower)
    detector = load_detector("mine", clip_weights=tower)
    assert isinstance(detector.tower, Tower)
    narrow = import_weights(_checkpoint(tmp_path / "narrow.pth", direction=torch.ones(5)))
    with pytest.raises(WeightsError, match="patch width"):
        load_detector(narrow, clip_weights=tower)


def test_its_options_are_given_on_the_command_line(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "mine.pth")
    assert _command("weights", "import", path, "--option", "sharpness=3").exit_code == 0
    assert read_card(tmp_path / "cache" / "mine.safetensors").options == {"sharpness": 3.0}
    for option, words in (("sharp=3", "sharpness"), ("sharpness", "KEY=VALUE"), ("sharpness=blunt", "sharpness")):
        done = _command("weights", "import", path, "--name", "other", "--option", option)
        assert done.exit_code == 2, done.output
        assert words in done.output
    assert not (tmp_path / "cache" / "other.safetensors").exists()


@pytest.mark.parametrize(
    "changes",
    [{"direction": torch.ones(3, 2)}, {"more": torch.ones(3)}, {"bias": torch.tensor(torch.nan)}],
    ids=["shape", "unknown", "not finite"],
)
def test_what_its_importer_lets_pass_is_checked_all_the_same(tmp_path: Path, changes: dict[str, torch.Tensor]) -> None:
    path = _checkpoint(tmp_path / "mine.pth", **changes)
    for command in ("import", "verify"):
        done = _command("weights", command, path)
        assert done.exit_code == 2, done.output
        assert done.output.startswith("Error: ")
        assert "mine.pth" in done.output
    assert not (tmp_path / "cache" / "mine.safetensors").exists()


def test_another_package_adds_it_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(METHODS, "toy")
    with pytest.raises(ConfigError, match="There is no method 'toy'"):
        find_method("toy")
    _enter(monkeypatch, "tests.toy_method:METHOD")
    assert find_method("toy") is METHOD
    assert method_names()[-1] == "toy"


def test_an_entry_point_cannot_take_the_name_of_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    _enter(monkeypatch, "tests.toy_method:METHOD", name="cops")
    assert find_method("cops").title == "CoPS"
    assert method_names().count("cops") == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("tests.toy_method:NOT_A_METHOD", "is not a Method"),
        ("tests.toy_method:ABSENT", "is not a Method"),
        ("tests.absent:METHOD", "could not be imported"),
    ],
)
def test_what_is_registered_and_is_no_method_is_named(monkeypatch: pytest.MonkeyPatch, place: str, words: str) -> None:
    monkeypatch.delitem(METHODS, "toy")
    _enter(monkeypatch, place)
    with pytest.raises(ConfigError, match=rf"{place}.*{words}.*'toy'"):
        find_method("toy")


def test_weights_of_a_method_that_is_not_installed_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _weights(tmp_path)
    monkeypatch.delitem(METHODS, "toy")
    with pytest.raises(WeightsError, match="no method 'toy'"):
        load_detector(path)


def _enter(monkeypatch: pytest.MonkeyPatch, place: str, name: str = "toy") -> None:
    entry = EntryPoint(name=name, value=place, group="medzsad.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == "medzsad.methods" else [])
