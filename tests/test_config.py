"""Configuration: one model for flags and YAML, with errors that help."""

from pathlib import Path

import click
import pytest

from medzsad import cli
from medzsad.config import RunConfig, make_config, read_options, run_yaml
from medzsad.errors import ConfigError
from medzsad.run.key import result_options

ROOT = Path(__file__).resolve().parents[1]


def test_run_yaml_holds_every_key_with_its_default_and_description() -> None:
    path = ROOT / "configs" / "run.yaml"
    assert path.read_text(encoding="utf-8") == run_yaml(), "python -m medzsad.config > configs/run.yaml"
    assert make_config(read_options(path)) == RunConfig()


def test_every_key_has_a_flag_and_every_flag_a_key() -> None:
    parameters = cli.run.get_params(click.Context(cli.run))
    flags = {parameter.name for parameter in parameters if "--help" not in parameter.opts}
    not_options = {"scans", "out", "config", "overwrite", "dry_run", "quiet", "verbose"}
    assert flags - not_options == set(RunConfig.model_fields)


def test_every_key_is_described() -> None:
    assert not [key for key, field in RunConfig.model_fields.items() if not field.description]


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


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "just words\n", "seed: 2024-13-45\n"])
def test_a_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_options(path)


def test_an_empty_yaml_means_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n", encoding="utf-8")
    assert make_config(read_options(path)) == RunConfig()


def _refusal(folder: Path, text: str) -> str:
    path = folder / "options.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        make_config(read_options(path), str(path))
    return str(caught.value)


def test_thousands_of_nested_brackets_are_refused_with_a_sentence(tmp_path: Path) -> None:
    assert "nested too deeply" in _refusal(tmp_path, "series: " + "[" * 5000 + "]" * 5000)


@pytest.mark.parametrize(
    ("text", "line", "first"),
    [
        ("seed: 1\nframe: 2\nseed: 3\n", 3, 1),
        ("{seed: 1, seed: 3}\n", 1, 1),
        ("data:\n  - {root: a}\n  - root: b\n    split: all\n    root: c\n", 5, 3),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_both_lines(tmp_path: Path, text: str, line: int, first: int) -> None:
    message = _refusal(tmp_path, text)
    assert f"options.yaml, line {line}: " in message
    assert f"is given twice, first in line {first}" in message


def test_a_key_beside_a_merged_one_is_no_second_one(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\n<<: *b\n", encoding="utf-8")
    assert read_options(path)["b"] == {"x": 3, "y": 2}


def test_a_wrong_value_is_quoted_in_short_however_large_it_is(tmp_path: Path) -> None:
    rows = ["a: &a [z, z, z, z, z, z, z, z, z, z]"]
    rows += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdef", "bcdefg", strict=True)]
    assert len(_refusal(tmp_path, "\n".join([*rows, "threshold: *g"]))) < 5000


def test_an_unreadable_configuration_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        read_options(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("class_name: Sch\u00e4del\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        read_options(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_options(tmp_path)


def test_a_value_that_our_own_check_refuses_is_explained_without_words_of_pydantic() -> None:
    with pytest.raises(ConfigError, match="modality = 'foo': known modalities are CT"):
        make_config({"modality": "foo"})


def test_one_name_of_weights_is_as_good_as_a_list_and_an_empty_list_is_none() -> None:
    assert make_config({"weights": "mine"}).weights == make_config({"weights": ["mine"]}).weights == ("mine",)
    with pytest.raises(ConfigError, match=r"weights = \[\]: name at least one"):
        make_config({"weights": []})
