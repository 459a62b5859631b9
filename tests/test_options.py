"""Command-line options that are made from a model, and data that lie where --data says."""

from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, Field

from medzsad import cli
from medzsad.cli.options import ConfiguredCommand, given
from medzsad.config import read_options
from medzsad.errors import ConfigError
from medzsad.evaluation.config import BenchmarkOptions, EvaluateConfig, read_evaluate_config
from medzsad.training.config import read_train_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


class Model(BaseModel):
    switch: bool = Field(default=True, description="Whether it is on.")
    kind: Literal["round", "square"] = Field(default="round", description="Its shape.")
    share: Annotated[float, Field(ge=0)] | None = Field(default=None, description="How much.")
    names: tuple[str, ...] = Field(default=(), description="What it is called.")
    values: tuple[int, ...] | None = Field(default=None, description="Which labels.")
    place: Path | None = Field(default=None, description="Where it lies.")
    count_mm: float = Field(default=2.0, description="How long.")


@click.command(cls=ConfiguredCommand, models=[f"{__name__}:Model"], without=["count_mm"])
@click.argument("thing")
def command(thing: str, **flags: object) -> None:
    click.echo(repr((thing, given(flags))))


def _answer(*words: str) -> str:
    done = CliRunner().invoke(command, list(words))
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_options_that_are_not_given_are_left_out() -> None:
    assert _answer("x") == "('x', {})"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--switch", {"switch": True}),
        ("--no-switch", {"switch": False}),
        ("--kind square", {"kind": "square"}),
        ("--share 0.5", {"share": 0.5}),
        ("--names a --names b", {"names": ("a", "b")}),
        ("--values 1,3", {"values": (1, 3)}),
        ("--place a/b", {"place": Path("a/b")}),
    ],
)
def test_every_type_of_field_becomes_an_option(words: str, options: dict[str, object]) -> None:
    assert _answer("x", *words.split()) == repr(("x", options))


@pytest.mark.parametrize("words", ["--kind oval", "--share much", "--values 1,b", "--count-mm 3"])
def test_a_value_of_another_type_and_a_field_without_a_flag_are_wrong_usage(words: str) -> None:
    done = CliRunner().invoke(command, ["x", *words.split()])
    assert done.exit_code == 2
    assert words.split()[0] in done.output


def test_the_help_names_description_and_default() -> None:
    text = " ".join(_answer("--help").split())
    for words in ("--switch / --no-switch Whether it is on. [on]", "[round|square] Its shape. [round]", "How much."):
        assert words in text


def test_every_key_of_an_evaluation_has_a_flag() -> None:
    parameters = cli.evaluate.get_params(click.Context(cli.evaluate))
    flags = {parameter.name for parameter in parameters if "--help" not in parameter.opts}
    keys = set(BenchmarkOptions.model_fields) | set(EvaluateConfig.model_fields)
    assert flags - {"config", "out", "compare", "published", "quiet"} == keys - {"benchmarks", "name"}
    assert all(field.description for field in [*BenchmarkOptions.model_fields.values()])
    assert all(field.description for field in [*EvaluateConfig.model_fields.values()])


def test_data_of_a_training_count_from_the_folder_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("data: {root: mine}\nlegacy_validation: {root: other}\ncache: {folder: kept}\n", encoding="utf-8")
    config = read_train_config(path, tmp_path / "sets")
    assert config.legacy_validation is not None
    assert config.data.root == (tmp_path / "sets" / "mine").resolve()
    assert config.legacy_validation.root == (tmp_path / "sets" / "other").resolve()
    assert config.cache.folder == (tmp_path / "kept").resolve()
    assert read_train_config(path).data.root == (tmp_path / "mine").resolve()


def test_data_of_benchmarks_count_from_the_folder_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "evaluate.yaml"
    path.write_text("benchmarks: [{benchmark: msd, data: a}]\nscores_from: b\n", encoding="utf-8")
    config = read_evaluate_config(path, {"seed": 1}, tmp_path / "sets")
    assert (config.benchmarks[0].data, config.scores_from, config.seed) == (tmp_path / "sets" / "a", tmp_path / "b", 1)
    assert read_evaluate_config(path, {}).benchmarks[0].data == tmp_path / "a"


def test_train_and_evaluate_look_for_data_under_the_given_folder(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("data: {root: mine}\n", encoding="utf-8")
    (tmp_path / "evaluate.yaml").write_text("benchmarks: [{benchmark: colondb, data: mine}]\n", encoding="utf-8")
    sets = tmp_path / "elsewhere"
    for verb in ("train", "evaluate"):
        words = [verb, str(tmp_path / f"{verb}.yaml"), "--data", str(sets), "-o", str(tmp_path / "out"), "-q"]
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 2
        assert str(sets / "mine") in done.output


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_configuration_points_outside_of_its_folder(path: Path) -> None:
    assert ".." not in yaml.safe_dump(read_options(path))


def test_a_wrong_value_in_a_file_and_on_the_command_line_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "evaluate.yaml"
    path.write_text("benchmarks: [{benchmark: msd}]\nbatch_size: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="batch_size = 0"):
        read_evaluate_config(path, {})
    words = ["evaluate", "--benchmark", "synthetic", "-o", str(tmp_path / "out"), "--batch-size", "0"]
    assert "batch_size = 0" in CliRunner().invoke(cli.main, words).output


def test_the_help_names_a_default_of_several_values_as_they_would_be_typed() -> None:
    text = CliRunner().invoke(cli.main, ["run", "--help"]).output
    assert "[medzsad-mini]" in text
    assert "('" not in text
