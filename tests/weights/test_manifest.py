from pathlib import Path

import pytest

from medzsad.errors import WeightsError
from medzsad.weights.manifest import Release, check_download, find_release, list_releases, weights_path


def test_the_list_names_every_published_file_with_its_sha256() -> None:
    entries = {entry.name: entry for entry in list_releases()}
    assert list(entries) == [
        "medzsad-mini",
        "bayes-pfl-visa",
        "bayes-pfl-mvtec",
        "crane-mvtec",
        "crane-visa",
        "crane-plus-mvtec",
        "crane-plus-visa",
        "ViT-L-14-336",
    ]
    for entry in entries.values():
        assert entry.license
        assert entry.source
        assert entry.kind == "embedded" or len(entry.sha256) == 64
        assert not entry.clip or entry.clip in entries


def test_status_follows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    entry = find_release("bayes-pfl-visa")
    assert entry.record()["status"] == "not installed"
    weights_path("bayes-pfl-visa").write_bytes(b"x")
    assert entry.record()["status"] == "installed"
    assert weights_path("bayes-pfl-visa").parent == tmp_path


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(WeightsError, match="Did you mean bayes-pfl-visa"):
        weights_path("bayes_pfl_visa")


def test_a_download_of_other_size_or_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    fields = {"name": "n", "kind": "prompts", "file": "f", "license": "l", "source": "s", "description": "d"}
    assert check_download(Release(**fields, size_bytes=3, sha256=digest), path) == digest
    with pytest.raises(WeightsError, match="has 3 bytes, n has 4"):
        check_download(Release(**fields, size_bytes=4, sha256=digest), path)
    with pytest.raises(WeightsError, match="sha256"):
        check_download(Release(**fields, size_bytes=3, sha256="0" * 64), path)
