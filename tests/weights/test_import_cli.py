"""`medzsad weights import` and `verify`: whatever the file is, one sentence and exit code 2."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from medzsad.cli import main
from medzsad.errors import WeightsError
from medzsad.weights.card import read_card
from medzsad.weights.imported import read_checkpoint
from medzsad.weights.manifest import weights_path
from tests import tiny


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path / "cache"))


def _command(*words: object) -> Result:
    return CliRunner().invoke(main, ["weights", *map(str, words)])


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> object:
        return os.mkdir, (str(self._mark),)


def _file(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "given.pth"
    if kind == "junk":
        path.write_bytes(b"174812789 is no weight")
    if kind == "empty":
        path.touch()
    if kind == "folder":
        path.mkdir()
    if kind == "hostile zip":
        torch.save({"MyModel": _Hostile(tmp_path / "ran")}, path)
    if kind == "hostile pickle":
        path.write_bytes(pickle.dumps(_Hostile(tmp_path / "ran")))
    if kind == "learner":
        learner = {"ctx_pos": torch.zeros(1, 1, 12, 8), "ctx_neg": torch.zeros(1, 1, 12, 8)}
        torch.save({"prompt_learner": learner}, path)
    return path


@pytest.mark.parametrize("kind", ["junk", "empty", "folder", "absent", "hostile zip", "hostile pickle", "learner"])
def test_what_cannot_be_imported_is_refused_with_one_sentence(tmp_path: Path, kind: str) -> None:
    path = _file(tmp_path, kind)
    for command in ("import", "verify"):
        done = _command(command, path)
        assert done.exit_code == 2, done.output
        assert done.output.startswith("Error: ")
        assert "given.pth" in done.output
        assert "weights_only" not in done.output
        assert "Traceback" not in done.output
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "cache").glob("*.safetensors"))
    if kind == "learner":
        assert "a prompt learner of another method" in _command("import", path).output


def test_whatever_bytes_a_damaged_file_has_the_error_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "given.pth"
    torch.save({"MyModel": {"a": torch.zeros(3)}}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for place in range(120):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read_checkpoint(path)
        except WeightsError:
            continue


def test_the_stage_is_given_on_the_command_line_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save({"MyModel": tiny.official_state()}, path)
    assert _command("import", path, "--option", "stage=1").exit_code == 0
    assert read_card(tmp_path / "cache" / "mine.safetensors").options == {"stage": 1}
    for option in ("stage=3", "stag=1"):
        done = _command("import", path, "--name", "other", "--option", option)
        assert done.exit_code == 2, done.output
        assert "stage" in done.output
    assert not (tmp_path / "cache" / "other.safetensors").exists()


@pytest.mark.parametrize("name", ["medzsad-mini", "ViT-L-14-336"])
def test_imported_weights_cannot_take_the_name_of_others(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.pth"
    torch.save({"MyModel": tiny.official_state()}, path)
    done = _command("import", path, "--name", name)
    assert done.exit_code == 2
    assert "is the name of other weights" in done.output
    assert not list((tmp_path / "cache").glob("*.safetensors"))


def test_the_embedded_file_is_read_and_verified() -> None:
    card = read_card(weights_path("medzsad-mini"))
    assert card.format_version == 2
    assert card.options == {"stage": 2}
    for given in ("medzsad-mini", weights_path("medzsad-mini")):
        done = _command("verify", given)
        assert done.exit_code == 0, done.output
        assert "sha256" in done.output


def test_a_tower_is_verified(tmp_path: Path) -> None:
    torch.save(tiny.tower().state_dict(), tmp_path / "tower.pt")
    assert "A CLIP tower" in _command("verify", tmp_path / "tower.pt").output
