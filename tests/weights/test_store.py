import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medzsad.errors import ConfigError, WeightsError
from medzsad.files import file_sha256
from medzsad.methods.noise import SharedNoise
from medzsad.weights.card import (
    DecisionCard,
    DecisionLevel,
    Decisions,
    WeightsCard,
    card_from_json,
    is_weights_file,
    read_card,
)
from medzsad.weights.load import load_detector
from medzsad.weights.manifest import weights_path
from medzsad.weights.store import rewrite_card, save_weights
from tests import tiny
from tests.decisions import decision_card

EMBEDDED = WeightsCard(
    name="mini", spec=tiny.SPEC, clip_name="tiny", clip_config=tiny.CONFIG, samples=4, threshold=0.25, class_name="body"
)
BARE = EMBEDDED.model_copy(update={"name": "bare", "clip_config": {}})


def _saved(path: Path, *, half: bool = False, embedded: bool = True) -> Path:
    clip = tiny.tower()
    with torch.no_grad():
        clip.token_embedding.weight[30000:40000] = 0
    metadata = EMBEDDED if embedded else BARE
    save_weights(path, tiny.prompts(), metadata, clip if embedded else None, half=half)
    return path


def test_a_saved_detector_predicts_what_it_predicted_before(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    detector = load_detector(path)
    found = detector.predict(tiny.images(2), ["brain", "colon"], SharedNoise())
    expected = tiny.detector().predict(tiny.images(2), ["brain", "colon"], SharedNoise())
    torch.testing.assert_close(found.score_map, expected.score_map, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.image_score, expected.image_score, atol=1e-6, rtol=0)
    assert detector.card.sha256 == detector.card.clip_sha256 == file_sha256(path)
    assert (detector.card.threshold, detector.card.class_name, detector.card.samples) == (0.25, "body", 4)
    assert not any(p.requires_grad for p in detector.parameters())


def test_half_precision_is_storage_only(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors", half=True)
    detector = load_detector(path)
    assert all(p.dtype == torch.float32 for p in detector.parameters())
    stored = load_file(path)
    assert stored["prompts.prompt_context"].dtype == torch.float16
    assert len(stored["clip.token_embedding.ids"]) == 49408 - 10000
    assert torch.equal(detector.clip.token_embedding.weight[40000], tiny.tower().token_embedding.weight[40000].half())


def test_a_description_is_changed_beside_the_same_tensors(tmp_path: Path) -> None:
    path, out = _saved(tmp_path / "mini.safetensors"), tmp_path / "changed.safetensors"
    stored = rewrite_card(path, out, {"decision": Decisions(volumes=decision_card())})
    before, after = load_file(path), load_file(out)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    found = load_detector(out).card
    assert found.decision == Decisions(volumes=decision_card())
    assert found.content_sha256 == stored.content_sha256 != read_card(path).content_sha256
    assert found.told().decision == found.decision


def test_a_card_without_a_decision_is_stored_as_before_there_were_any() -> None:
    assert "decision" not in json.loads(EMBEDDED.to_json())
    card = EMBEDDED.model_copy(update={"decision": Decisions(volumes=decision_card())})
    assert card_from_json(card.to_json()) == card


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (0.0,)},
        {"levels": {"high": DecisionLevel(evidence=1.0, share=0.1)}},
        {"false_per_volume": ((1.0, 0.1), (2.0, 0.2))},
        {"scale": (0.0,) * 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_decision_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    values = decision_card().model_dump() | changes
    with pytest.raises(ValueError, match="decision"):
        DecisionCard.model_validate(values)


def test_samples_can_be_chosen(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    detector = load_detector(path, samples=2)
    assert detector.card.samples == 2
    for wrong in ({"samples": 0}, {"clip_weights": "ViT-L-14-336"}):
        with pytest.raises(ConfigError):
            load_detector(path, **wrong)


def test_prompts_without_a_tower_take_the_given_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tower = tmp_path / "tower.safetensors"
    save_file(tiny.tower().state_dict(), tower)
    path = tmp_path / "bare.safetensors"
    save_weights(path, tiny.prompts(), BARE.model_copy(update={"clip_sha256": "1" * 64}))
    with caplog.at_level(logging.WARNING):
        detector = load_detector(path, clip_weights=tower)
    assert "111111111111" in caplog.text
    assert detector.card.clip_sha256 == file_sha256(tower)
    found = detector.predict(tiny.images(1), ["brain"], SharedNoise())
    expected = tiny.detector().predict(tiny.images(1), ["brain"], SharedNoise())
    torch.testing.assert_close(found.score_map, expected.score_map, atol=1e-6, rtol=0)


def test_a_tower_of_other_width_is_refused(tmp_path: Path) -> None:
    tower = tmp_path / "tower.safetensors"
    state = tiny.tower().state_dict()
    state["visual.proj"] = torch.zeros(tiny.VISION_WIDTH, 32)
    state["text_projection"] = torch.zeros(tiny.WIDTH, 32)
    save_file(state, tower)
    path = _saved(tmp_path / "bare.safetensors", embedded=False)
    with pytest.raises(WeightsError, match="need the CLIP tower tiny"):
        load_detector(path, clip_weights=tower)


def test_a_missing_tower_or_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZSAD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "bare.safetensors"
    save_weights(path, tiny.prompts(), BARE.model_copy(update={"clip_name": "ViT-L-14-336"}))
    with pytest.raises(WeightsError, match="medzsad weights fetch ViT-L-14-336"):
        load_detector(path)
    with pytest.raises(WeightsError, match="medzsad weights fetch bayes-pfl-visa"):
        load_detector("bayes-pfl-visa")
    with pytest.raises(WeightsError, match="Did you mean"):
        load_detector("bayes-pfl-vis")
    with pytest.raises(WeightsError, match="nowhere"):
        load_detector(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("how", ["nan", "missing", "shape", "sizes", "table"])
def test_damaged_weights_are_refused(tmp_path: Path, how: str) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    tensors, metadata = load_file(path), read_card(path)
    if how == "nan":
        tensors["prompts.text_head.weight"][0, 0] = torch.nan
    if how == "missing":
        del tensors["prompts.text_head.weight"]
    if how == "shape":
        tensors["prompts.prompt_context"] = torch.zeros(2, 3, 5)
    if how == "sizes":
        metadata = metadata.model_copy(update={"sizes": {"breadth": 3}})
    if how == "table":
        tensors["clip.token_embedding.ids"][0] = 99999
    save_file(tensors, path, {"medzsad": metadata.to_json()})
    with pytest.raises(WeightsError, match="mini"):
        load_detector(path)


def test_metadata_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    card = read_card(path)
    assert card == EMBEDDED.model_copy(update={"sizes": tiny.prompts().sizes, "content_sha256": card.content_sha256})
    assert is_weights_file(path)


def test_metadata_of_a_newer_format_or_damaged_is_refused() -> None:
    fields = json.loads(EMBEDDED.to_json())
    with pytest.raises(WeightsError, match="Update medzsad"):
        card_from_json(json.dumps(fields | {"format_version": 99}))
    for text in ("", "[]", json.dumps(fields | {"color": 1}), json.dumps(fields | {"spec": {"image_size": 3}})):
        with pytest.raises(WeightsError, match="damaged"):
            card_from_json(text)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    before = file_sha256(path)
    with pytest.raises(WeightsError, match="clip_config"):
        save_weights(path, tiny.prompts(), EMBEDDED)
    assert file_sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["mini.safetensors"]


def test_a_flipped_bit_anywhere_in_the_content_is_found(tmp_path: Path) -> None:
    path = _saved(tmp_path / "mini.safetensors")
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    for place in (header + 5, (header + len(whole)) // 2, len(whole) - 3):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(WeightsError, match="does not have the digest"):
            load_detector(path)
    changed = whole.replace(b'\\"threshold\\": 0.25', b'\\"threshold\\": 0.15')
    assert changed != whole
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match="does not have the digest"):
        load_detector(path)


def test_a_flipped_bit_in_a_copy_of_the_embedded_weights_is_found(tmp_path: Path) -> None:
    content = bytearray(weights_path("medzsad-mini").read_bytes())
    path = tmp_path / "a copy.safetensors"
    path.write_bytes(bytes(content))
    assert load_detector(path).card.name == "medzsad-mini"
    content[-1000] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="installing it again"):
        load_detector(path)


def test_a_card_of_the_first_format_is_read() -> None:
    old = {
        "name": "old",
        "spec": {"image_size": 28, "layers": [1, 3], "activation": "gelu", "attention": "plain"},
        "clip_name": "tiny",
        "method": "bayes_pfl",
        "stage": 1,
        "licence": "MIT",
        "format_version": 1,
    }
    card = card_from_json(json.dumps(old))
    assert (card.license, card.options, card.spec.layers) == ("MIT", {"stage": 1}, (1, 3))


def test_weights_of_an_unknown_method_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(path, tiny.prompts(), BARE.model_copy(update={"method": "palmistry"}))
    with pytest.raises(WeightsError, match=r"palmistry.*bayes_pfl, cops"):
        load_detector(path)
