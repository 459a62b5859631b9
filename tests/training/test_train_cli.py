"""`medzsad train`: exit codes and what is printed."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from medzsad.cli import main
from tests.training.tiny_training import options


def test_train_ends_with_a_weights_file_that_verifies(tmp_path: Path) -> None:
    path, out = tmp_path / "train.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(options(tmp_path, epochs=1)))
    done = CliRunner().invoke(main, ["train", str(path), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert str(out / "weights.safetensors") in done.output
    assert "epoch 1, stage 1" in done.output
    assert CliRunner().invoke(main, ["weights", "verify", str(out / "weights.safetensors")]).exit_code == 0
    again = CliRunner().invoke(main, ["train", str(path), "-o", str(out), "-q"])
    assert (again.exit_code, again.output) == (0, "")


def test_check_lists_the_data_and_ends_with_2_on_errors(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(options(tmp_path)))
    done = CliRunner().invoke(main, ["train", str(path), "--check"])
    assert done.exit_code == 0, done.output
    assert "cloth" in done.output
    (tmp_path / "data" / "nut" / "test" / "good" / "000.png").write_bytes(b"no image")
    bad = CliRunner().invoke(main, ["train", str(path), "--check", "--json"])
    assert bad.exit_code == 2
    problems = json.loads(bad.stdout)["problems"]
    assert [(p["kind"], p["severity"]) for p in problems if p["severity"] == "error"] == [("unreadable_image", "error")]


def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    for plain, words in (
        ({"data": {"root": "nowhere"}}, "There is no training data at"),
        (
            options(tmp_path, tower="absent.safetensors"),
            "The file absent.safetensors, which should hold",
        ),
        (options(tmp_path, tower="ViT-L-14-337/openai"), "There is no CLIP tower"),
    ):
        path.write_text(yaml.safe_dump(plain))
        done = CliRunner().invoke(main, ["train", str(path), "-o", str(tmp_path / "out"), "-q"])
        assert done.exit_code == 2
        assert done.output.startswith("Error: ")
        assert words in done.output
        assert "Traceback" not in done.output
    assert CliRunner().invoke(main, ["train", str(path)]).exit_code == 2
