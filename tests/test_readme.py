"""What README says can be done is done: its commands run, its links lead somewhere, its Python works."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from medzsad.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    if line.strip()
]


def _continues(command: str) -> bool:
    """Whether a command is part of the evaluation whose commands need each other's results."""
    return any(word in command for word in ("--benchmark synthetic", "--scores-from", "--compare"))


def test_the_first_screen_shows_what_it_is_and_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:18])
    for words in ("Research use, not a medical device", "make demo", "make test", "docs/pictures/demo.png"):
        assert words in first


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!https?:)[^)]+)\)", README))))
def test_every_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", [c.split()[1] for c in COMMANDS if c.startswith("make ")])
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("medzsad ") and not _continues(c)])
def test_every_command_is_one_that_the_program_knows(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)[1:]
    if {"fetch", "bayes-pfl-visa", "train", "runs/visa/weights.safetensors"} & set(words):
        # These need the network, hours, or files that we may not redistribute: only their options are checked.
        done = CliRunner().invoke(main, [*words, "--help"])
    else:
        scans = str(ROOT / "examples" / "scans")
        places = {"SCANS": scans, "NORMAL_SCANS": scans, "OUT": str(tmp_path / "out")}
        places |= {"site.json": str(tmp_path / "site.json")}
        if words[0] == "report":  # of a run that was before
            assert CliRunner().invoke(main, ["run", places["SCANS"], "-o", places["OUT"], "-q"]).exit_code == 0
        done = CliRunner().invoke(main, [places.get(word, word) for word in words])
    assert done.exit_code == 0, done.output


def test_the_commands_of_an_evaluation_follow_each_other(tmp_path: Path) -> None:
    commands = [c for c in COMMANDS if _continues(c)]
    assert len(commands) == 3
    for command in commands:
        words = [str(tmp_path / w) if w in {"OUT", "AGAIN", "COMPARISON"} else w for w in shlex.split(command)[1:]]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "COMPARISON" / "comparison.html").is_file()


def test_the_python_example_finds_the_lesion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code = next(text for language, text in BLOCKS if language == "python")
    exec(code, {})
    assert capsys.readouterr().out.startswith("lesion [(")
