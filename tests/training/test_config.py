"""Configurations of a training are read, checked and named in errors."""

from pathlib import Path

import pytest

from medzsad.errors import ConfigError
from medzsad.methods.registry import find_method
from medzsad.training.config import make_train_config, read_train_config, result_keys
from medzsad.training.start import trained_method
from medzsad.training.train import train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": {"root": "x"}, "epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'"),
        ({"data": {"root": "x", "layuot": "mvtec"}}, "unknown key 'data.layuot'. Did you mean 'layout'"),
        ({"data": {"root": "x"}, "cache": {"variant": 2}}, "Did you mean 'variants'"),
        ({}, "the key 'data' is missing"),
        ({"data": {"root": "x"}, "batch": 0}, "batch = 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        make_train_config(options, tmp_path)


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "tower.pt").touch()
    (tmp_path / "here" / "train.yaml").write_text("data: {root: ../images}\ntower: tower.pt\ncache: {folder: kept}\n")
    config = read_train_config(tmp_path / "here" / "train.yaml")
    assert config.data.root == tmp_path / "images"
    assert config.tower == str(tmp_path / "here" / "tower.pt")
    assert config.cache.folder == tmp_path / "here" / "kept"


def test_the_result_depends_on_no_place_and_no_speed(tmp_path: Path) -> None:
    plain = make_train_config({"data": {"root": "a"}}, tmp_path)
    moved = make_train_config({"data": {"root": "b"}, "workers": 0, "save_seconds": 1, "max_minutes": 2}, tmp_path)
    other = make_train_config({"data": {"root": "a"}, "cache": {"variants": 1}}, tmp_path)
    assert result_keys(plain) == result_keys(moved)
    assert result_keys(plain) != result_keys(other)


@pytest.mark.parametrize("name", ["visa", "mvtec", "auxiliary"])
def test_shipped_configurations_are_valid(name: str) -> None:
    config = read_train_config(CONFIGS / f"train_{name}.yaml")
    assert config.seed == 333
    assert config.batch == 32
    assert (config.mosaic == 0.4) == (name == "mvtec")
    assert config.license
    assert trained_method(config).method.name == "bayes_pfl"


def test_the_shipped_configuration_of_cops_is_the_authors_protocol() -> None:
    config = read_train_config(CONFIGS / "train_cops.yaml")
    trained = trained_method(config)
    assert trained.method.name == "cops"
    assert (config.batch, config.epochs, config.keep, config.hold_out, config.augment) == (8, 10, "last", 0, False)
    assert trained.options.reconstruction_weight == 0


@pytest.mark.parametrize(
    ("name", "epochs", "betas"),
    [("anomalyclip", 15, (0.5, 0.999)), ("crane", 5, (0.6, 0.999)), ("faprompt", 7, (0.5, 0.999))],
)
def test_the_shipped_configurations_of_its_siblings_are_the_authors_protocols(
    name: str, epochs: int, betas: tuple[float, float]
) -> None:
    config = read_train_config(CONFIGS / f"train_{name}.yaml")
    trained = trained_method(config)
    assert trained.method.name == name
    assert (config.batch, config.epochs, config.seed) == (8, epochs, 111)
    assert (config.keep, config.hold_out, config.augment, config.precision) == ("last", 0, False, "float32")
    (stage,) = trained.objective.stages
    assert (stage.betas, stage.schedule) == (betas, "constant")
    assert (trained.options.deep_prompts, trained.options.deep_tokens) == (8, 4)


@pytest.mark.parametrize("name", ["train_mrad", "train_embedded_mrad"])
def test_the_shipped_configurations_of_a_memory_ask_for_nothing_that_it_cannot_do(name: str, tmp_path: Path) -> None:
    config = read_train_config(CONFIGS / f"{name}.yaml", tmp_path)
    assert find_method(config.method).memory is not None
    assert config.license
    with pytest.raises(ConfigError, match="There is no training data"):  # all options have been taken
        train(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bayes_plf"}, "Did you mean 'bayes_pfl'"),
        ({"options": {"bnak": 2}}, "Did you mean 'bank'"),
        ({"method": "cops", "options": {"neighbors": 4}}, "odd number"),
        ({"keep": "last"}, "2 stages"),
        ({"hold_out": 0}, "nothing is left"),
        ({"method": "mrad"}, "cannot be trained"),
    ],
)
def test_wrong_methods_and_their_options_are_named(options: dict[str, object], message: str, tmp_path: Path) -> None:
    config = make_train_config({"data": {"root": "x"}, **options}, tmp_path)
    with pytest.raises(ConfigError, match=message):
        trained_method(config)
