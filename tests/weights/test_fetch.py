import dataclasses
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.weights import fetch, imported, manifest
from medzsad.weights.card import read_card
from medzsad.weights.fetch import fetch_weights, verify_weights
from medzsad.weights.imported import import_weights
from medzsad.weights.manifest import Release
from medzsad.weights.store import resolve_weights
from tests import tiny
from tests.methods import worded

VISA = "bayes-pfl-visa"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "source.pth"
    torch.save({"MyModel": tiny.official_state()}, path)
    return path


def _pin(monkeypatch: pytest.MonkeyPatch, name: str, path: Path, **changes: str) -> None:
    """Makes `path` the published file of `name`."""
    pinned: dict[str, Any] = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)} | changes
    known = tuple(dataclasses.replace(e, **pinned) if e.name == name else e for e in manifest.list_releases())

    def listed() -> tuple[Release, ...]:
        return known

    for module in (manifest, fetch, imported):
        monkeypatch.setattr(module, "list_releases", listed)


def _serve(monkeypatch: pytest.MonkeyPatch, content: bytes | None, error: Exception | None = None) -> list[Any]:
    asked: list[Any] = []

    class Refused(Exception):
        """What gdown raises."""

    def download(*, id: str, output: str, quiet: bool) -> None:
        asked.append(id)
        if error:
            raise error
        if content is None:
            raise Refused("Cannot retrieve the public link of the file.\nMore lines")
        Path(output).write_bytes(content)

    exceptions = SimpleNamespace(FileURLRetrievalError=Refused)
    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download, exceptions=exceptions))
    return asked


def test_fetch_downloads_verifies_and_imports(monkeypatch: pytest.MonkeyPatch, original: Path, cache: Path) -> None:
    _pin(monkeypatch, VISA, original)
    asked = _serve(monkeypatch, original.read_bytes())
    path = fetch_weights(VISA)
    assert path == cache / "bayes-pfl-visa.safetensors" == resolve_weights(VISA)
    assert asked == ["1rNs_rdTmrg4JshmKHotq6AN1gqTpPjvm"]
    assert read_card(path).trained_on == "VisA"
    assert [p.name for p in cache.iterdir()] == [path.name]
    fetch_weights(VISA)
    assert len(asked) == 1
    assert "imported from train_visa.pth as published" in verify_weights(VISA).verdict


@pytest.mark.parametrize("content", [b"<html>quota exceeded</html>", b""])
def test_a_wrong_download_installs_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path, content: bytes) -> None:
    _serve(monkeypatch, content)
    with pytest.raises(WeightsError, match="has 109523051"):
        fetch_weights(VISA)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("error", [None, OSError("Network is unreachable")])
def test_without_a_network_a_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, cache: Path, error: Exception | None
) -> None:
    _serve(monkeypatch, None, error)
    with pytest.raises(WeightsError, match=r"could not be downloaded .*Is this computer online"):
        fetch_weights(VISA)
    assert list(cache.iterdir()) == []


def test_without_gdown_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(WeightsError, match=r"pip install 'medzsad\[fetch\]'"):
        fetch_weights(VISA)


class _Server(ThreadingHTTPServer):
    """Serves a folder of this computer; what it has served is in `asked`."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *values: object) -> None:
                server.asked.append(self.path)

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    with _Server(folder) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def _served_tower(monkeypatch: pytest.MonkeyPatch, server: _Server, folder: Path) -> Path:
    source = folder / "served" / "ViT-L-14-336px.pt"
    address = f"http://127.0.0.1:{server.server_port}/{source.name}"
    monkeypatch.setattr(fetch, "get_pretrained_cfg", lambda model, tag: {"url": address})
    torch.save(tiny.tower().state_dict(), source)
    return source


def test_the_tower_comes_from_the_address_that_open_clip_knows(
    monkeypatch: pytest.MonkeyPatch, server: _Server, tmp_path: Path
) -> None:
    assert "ViT-L-14-336px.pt" in fetch.get_pretrained_cfg("ViT-L-14-336", "openai")["url"]
    _pin(monkeypatch, "ViT-L-14-336", _served_tower(monkeypatch, server, tmp_path))
    path = fetch_weights("ViT-L-14-336", tmp_path / "elsewhere")
    assert server.asked == ["/ViT-L-14-336px.pt"]
    assert path == tmp_path / "elsewhere" / "ViT-L-14-336px.pt"
    assert "as published" in verify_weights(path).verdict
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_tower_than_the_published_one_installs_nothing(
    monkeypatch: pytest.MonkeyPatch, server: _Server, tmp_path: Path
) -> None:
    _served_tower(monkeypatch, server, tmp_path)
    with pytest.raises(WeightsError, match="has 934088680"):
        fetch_weights("ViT-L-14-336", tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_tower_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, server: _Server, tmp_path: Path) -> None:
    _served_tower(monkeypatch, server, tmp_path).unlink()
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch_weights("ViT-L-14-336", tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_prompts_come_from_the_address_of_the_list(
    monkeypatch: pytest.MonkeyPatch, server: _Server, tmp_path: Path, cache: Path
) -> None:
    source = tmp_path / "served" / "epoch_5.pth"
    torch.save({"prompt_learner": worded.official("crane")}, source)
    _pin(monkeypatch, "crane-mvtec", source, url=f"http://127.0.0.1:{server.server_port}/{source.name}")
    path = fetch_weights("crane-mvtec")
    assert server.asked == ["/epoch_5.pth"]
    assert path == cache / "crane-mvtec.safetensors" == resolve_weights("crane-mvtec")
    card = read_card(path)
    assert (card.method, card.trained_on, card.name) == ("crane", "MVTec AD", "crane-mvtec")
    assert "trained_on_mvtec_crane" in verify_weights(source).verdict
    assert [p.name for p in cache.iterdir()] == [path.name]


def test_import_installs_under_the_given_name(original: Path, cache: Path) -> None:
    path = import_weights(original, "mine")
    assert path == cache / "mine.safetensors" == resolve_weights("mine")
    assert "called mine" in verify_weights(path).verdict
    with pytest.raises(WeightsError, match="published weights"):
        import_weights(original, VISA)
    assert [p.name for p in cache.iterdir()] == ["mine.safetensors"]


def test_verify_reads_authors_files_and_towers(original: Path, tmp_path: Path) -> None:
    tower = tmp_path / "tower.pt"
    torch.save(tiny.tower().state_dict(), tower)
    assert "authors' format" in verify_weights(original).verdict
    assert "CLIP tower" in verify_weights(tower).verdict
    renamed = original.rename(tmp_path / "train_visa.pth")
    with pytest.raises(WeightsError, match="109523051"):
        verify_weights(renamed)
    with pytest.raises(WeightsError, match="medzsad weights fetch"):
        verify_weights(VISA)


def test_verify_finds_a_changed_number(original: Path) -> None:
    path = import_weights(original, "mine")
    content = bytearray(path.read_bytes())
    content[-4:] = b"\x00\x00\x80\x7f"
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="does not have the digest"):
        verify_weights(path)
