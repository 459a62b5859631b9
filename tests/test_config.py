"""Configuration: one model for flags and YAML, with errors that help."""

import inspect
from pathlib import Path

import pytest
import yaml

from medzsad import cli
from medzsad.config import RunConfig, make_config, read_options, result_options
from medzsad.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def test_run_yaml_holds_every_default() -> None:
    written = yaml.safe_load((ROOT / "configs" / "run.yaml").read_text(encoding="utf-8"))
    assert written == RunConfig().model_dump(mode="json")


def test_every_key_has_a_flag_and_every_flag_a_key() -> None:
    flags = {parameter.name for parameter in cli.run.params}
    not_options = {"scans", "out", "config", "overwrite", "dry_run", "quiet", "verbose"}
    assert flags - not_options == set(RunConfig.model_fields)


def test_every_key_is_described() -> None:
    text = inspect.getdoc(RunConfig) or ""
    assert not [key for key in RunConfig.model_fields if f"\n    {key}: " not in text]


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"'treshold'\. Did you mean 'threshold'"):
        make_config({"treshold": 0.5})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.5}, "threshold = 1.5"),
        ({"axis": "diagonal"}, "axis"),
        ({"batch_size": 0}, "batch_size"),
        ({"smooth_mm": -1}, "smooth_mm"),
        ({"modality": "CTT"}, "known modalities are CT"),
        ({"frame": 1, "all_frames": True}, "exclude each other"),
    ],
)
def test_a_value_out_of_range_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_config(options)


def test_options_that_change_no_result_are_not_part_of_the_key() -> None:
    assert result_options(make_config({"batch_size": 3, "device": "cpu"})) == result_options(RunConfig())
    assert result_options(make_config({"seed": 1})) != result_options(RunConfig())


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "just words\n"])
def test_a_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_options(path)


def test_an_empty_yaml_means_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n", encoding="utf-8")
    assert make_config(read_options(path)) == RunConfig()
