from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medzsad.clip.spec import TowerSpec
from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.methods.bayes_pfl import importer
from medzsad.methods.bayes_pfl.importer import official_stage, translate
from medzsad.weights import imported
from medzsad.weights.card import read_card
from medzsad.weights.imported import write_imported
from medzsad.weights.load import load_detector
from medzsad.weights.manifest import find_release
from medzsad.weights.store import read_weights
from tests import tiny


def _file(path: Path, state: dict[str, Tensor] | None = None) -> Path:
    torch.save({"MyModel": state or tiny.official_state()}, path)
    return path


def test_the_published_structure_is_accounted_for_key_by_key() -> None:
    # Sizes of the published files (METHODS A.7), as tensors without memory.
    state = tiny.official_state(width=768, vision_width=1024, hidden=512, device="meta")
    assert len(state) == 131
    assert sum(value.numel() for value in state.values()) == 36_823_329
    sizes = importer._sizes({importer.our_name(k) or k: v for k, v in state.items()})
    assert sizes == {
        "width": 768,
        "vision_width": 1024,
        "hidden": 512,
        "layer_count": 4,
        "bank": 3,
        "context_tokens": 5,
        "state_tokens": 5,
        "flows": 10,
    }


def test_every_key_is_used_or_an_alias_or_ignored() -> None:
    official = tiny.official_state(bank=2, context=3, state=4, flows=6, layers=3)
    found = translate(official)
    assert len(found.state) + len(found.aliases) + len(found.ignored) == len(official)
    assert found.sizes == {
        "width": 16,
        "vision_width": 24,
        "hidden": 6,
        "layer_count": 3,
        "bank": 2,
        "context_tokens": 3,
        "state_tokens": 4,
        "flows": 6,
    }
    assert len(found.aliases) == 3 * 18
    assert torch.equal(found.state["normal_flow.u"], official["PFL_normal.amor_u"][0, :, :, 0])
    assert torch.equal(found.state["abnormal_flow.w"], official["PFL_abnormal.amor_w"][0, :, 0, :])
    assert torch.equal(
        found.state["state_encoder.spread.4.bias"], official["state_encoder.weight_log_variance.module.4.bias"]
    )


def test_an_imported_file_says_where_it_is_from(tmp_path: Path) -> None:
    path = _file(tmp_path / "mine.pth")
    out = tmp_path / "mine.safetensors"
    write_imported(path, out)
    metadata = read_card(out)
    assert metadata.name == "mine"
    assert metadata.spec == TowerSpec(image_size=518, layers=(6, 12, 18, 24))
    assert metadata.source_sha256 == file_sha256(path)
    assert "unknown" in metadata.source
    assert metadata.license == "unknown"
    assert metadata.clip_sha256 == find_release("ViT-L-14-336").sha256
    assert metadata.threshold == 0.5
    assert "not calibrated" in metadata.threshold_provenance
    model = read_weights(out).model
    assert torch.equal(model.prompt_context, tiny.official_state()["prompt_context"])


def test_imported_prompts_run_on_a_tower_of_their_size(tmp_path: Path) -> None:
    state = tiny.official_state(width=tiny.WIDTH, vision_width=tiny.VISION_WIDTH, layers=2)
    out = tmp_path / "mine.safetensors"
    write_imported(_file(tmp_path / "mine.pth", state), out, spec=tiny.SPEC)
    tower = tmp_path / "tower.pt"
    torch.save(tiny.tower().state_dict(), tower)
    detector = load_detector(out, clip_weights=tower, samples=2)
    assert detector.predict(tiny.images(1), ["brain"], _noise()).score_map.isfinite().all()


def _noise() -> Any:
    from medzsad.methods.noise import SharedNoise

    return SharedNoise()


def test_a_published_file_gets_its_name_and_license(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path / "any_name.pth")
    monkeypatch.setattr(imported, "file_sha256", lambda _: find_release("bayes-pfl-mvtec").sha256)
    metadata = write_imported(path, tmp_path / "out.safetensors")
    assert metadata.name == "bayes-pfl-mvtec"
    assert "NC" in metadata.license
    assert metadata.trained_on == "MVTec AD"


@pytest.mark.parametrize(("file", "name"), [("train_visa.pth", ""), ("mine.pth", "bayes-pfl-visa")])
def test_a_file_that_pretends_to_be_a_published_one_is_refused(tmp_path: Path, file: str, name: str) -> None:
    with pytest.raises(WeightsError, match="published weights bayes-pfl-visa"):
        write_imported(_file(tmp_path / file), tmp_path / "out.safetensors", name)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("train_visa.pth", 2),
        ("runs/epoch_post_1.pth", 1),
        ("runs/epoch_post/x2.pth", 2),
        ("epoch_1.pth", 2),
        ("epoch_post/last.pth", 2),
    ],
)
def test_the_stage_follows_the_authors_rule(path: str, stage: int) -> None:
    assert official_stage(Path(path)) == stage


def _changed(how: str) -> dict[str, Tensor]:
    state = tiny.official_state()
    if how == "missing":
        del state["RCA.q_proj_pre.bias"]
    if how == "unknown":
        state["adapter.weight"] = torch.zeros(2)
    if how == "shape":
        state["class_mapping.weight"] = torch.zeros(16, 17)
    if how == "flow":
        state["PFL_normal.amor_u"] = torch.zeros(1, 9, 16, 1)
    if how == "alias":
        state["PFL_normal.encoder.weight_mean.module.0.bias"] = torch.ones(6)
    if how == "owner":
        del state["state_encoder.weight_mean.module.0.bias"]
    if how == "layers":
        state = tiny.official_state(layers=3)
    if how == "context":
        state["prompt_context"] = torch.zeros(3)
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "refinement.query.bias"),
        ("unknown", "adapter.weight"),
        ("shape", "text_head.weight"),
        ("flow", "normal_flow.u"),
        ("alias", "differs from state_encoder"),
        ("owner", "repeats state_encoder"),
        ("layers", "reads 3 layers"),
        ("context", "prompt_context"),
    ],
)
def test_incomplete_or_contradictory_weights_are_refused(tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        write_imported(_file(tmp_path / "w.pth", _changed(how)), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt_learner": {}}, "another method"),
        ({"state_dict": {}, "epoch": 1}, "open_clip"),
        ({"visual.proj": torch.zeros(1)}, "CLIP tower"),
        ([1, 2], "a list"),
        ({}, "nothing"),
    ],
    ids=str,
)
def test_files_of_other_methods_are_recognized(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        write_imported(path, tmp_path / "out.safetensors")


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"MyModel": {"x": Path("a")}}, path)
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        write_imported(path, tmp_path / "out.safetensors")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "cut.pth")
    path.write_bytes(path.read_bytes()[:2000])
    for wrong in (path, tmp_path / "absent.pth"):
        with pytest.raises(WeightsError, match=wrong.name):
            write_imported(wrong, tmp_path / "out.safetensors")
