"""A guide from its file to the scores: what it changes, where it is named, who may have one, and what is refused."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

import medzsad
from medzsad.cli import main
from medzsad.clip.guide import Guide
from medzsad.config import make_config
from medzsad.errors import ConfigError, WeightsError
from medzsad.evaluation.scorer import BenchmarkScorer
from medzsad.evaluation.settings import _OF_THE_SCORES
from medzsad.files import file_sha256
from medzsad.methods.ensemble import Ensemble
from medzsad.methods.noise import SharedNoise
from medzsad.run.key import result_options
from medzsad.run.rule import checked_site
from medzsad.run.site_file import read_site
from medzsad.weights.load import load_detector
from medzsad.weights.manifest import find_release
from tests import guides, tiny
from tests.methods import worded
from tests.phantoms import phantom_scan, write_nifti

SHARP = ((0.2, 0.5), (0.5, 0.05), (0.8, 0.005))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    guides.make_small(monkeypatch)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return guides.write_crane(tmp_path / "crane.safetensors")


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    return guides.write_guide(tmp_path / "meta.pth")


def _scores(detector: Any, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    found = detector.predict(guides.images(count), [""] * count, SharedNoise())
    return found.score_map, found.image_score


def _command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_guide_changes_the_scores_and_every_format_gives_the_same(weights: Path, guide: Path, tmp_path: Path) -> None:
    guided, plain = load_detector(weights, guide_weights=guide), load_detector(weights)
    maps, scores = _scores(guided)
    assert float((maps - _scores(plain)[0]).abs().max()) > 1e-3
    assert float((scores - _scores(plain)[1]).abs().max()) > 1e-4
    for name in ("timm.safetensors", "timm.bin"):
        other = load_detector(weights, guide_weights=guides.write_guide(tmp_path / name))
        assert torch.equal(_scores(other)[0], maps)
        assert other.card.guide_sha256 == file_sha256(tmp_path / name) != guided.card.guide_sha256
    assert (plain.card.guide_sha256, plain.backbone) == ("", None)
    assert guided.card.guide_sha256 == file_sha256(guide)
    assert not any(parameter.requires_grad for parameter in guided.parameters())


def test_scores_are_those_of_given_features_of_the_backbone(weights: Path, guide: Path) -> None:
    detector, images = load_detector(weights, guide_weights=guide), guides.images(2)
    features = detector.tower.features(images, Guide(detector.backbone(images)))
    given = detector.predict_features(features, ["", ""], SharedNoise())
    assert torch.equal(given.score_map, _scores(detector, 2)[0])
    assert len(features.patches) == 2


def test_a_guided_image_scores_alone_as_in_a_batch(weights: Path, guide: Path) -> None:
    detector = load_detector(weights, guide_weights=guide)
    whole = detector.predict(guides.images(4), [""] * 4, SharedNoise())
    for place in range(4):
        one = detector.predict(guides.images(4)[place : place + 1], [""], SharedNoise())
        torch.testing.assert_close(one.score_map[0], whole.score_map[place], atol=1e-5, rtol=0)
        torch.testing.assert_close(one.image_score[0], whole.image_score[place], atol=1e-5, rtol=0)


def test_the_guide_follows_the_detector_and_its_arithmetic(weights: Path, guide: Path) -> None:
    detector = load_detector(weights, guide_weights=guide).to(torch.float64)
    assert {parameter.dtype for parameter in detector.backbone.parameters()} == {torch.float64}
    detector = load_detector(weights, guide_weights=guide)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = _scores(detector)[0]
    assert bool(rounded.isfinite().all())
    assert 0 < float((rounded - _scores(detector)[0]).abs().max()) < 0.2


@pytest.mark.parametrize("method", ["anomalyclip", "faprompt"])
def test_weights_of_methods_without_guided_features_refuse_a_guide(method: str, guide: Path, tmp_path: Path) -> None:
    weights = guides.write_crane(tmp_path / "other.safetensors", method)
    with pytest.raises(ConfigError, match=r"guide_weights is for Crane on a vision transformer.*Leave it out"):
        load_detector(weights, guide_weights=guide)


def test_weights_without_local_attention_refuse_a_guide(guide: Path, tmp_path: Path) -> None:
    from medzsad.weights.store import read_weights, save_weights

    found = read_weights(guides.write_crane(tmp_path / "crane.safetensors"))
    spec = worded.replace(found.card.spec, attention="plain")
    clip = worded.tower("crane").clip
    save_weights(tmp_path / "plain.safetensors", found.model, found.card.model_copy(update={"spec": spec}), clip)
    with pytest.raises(ConfigError, match="without local attention"):
        load_detector(tmp_path / "plain.safetensors", guide_weights=guide)


def test_the_default_weights_refuse_a_guide_on_the_command_line(guide: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", phantom_scan(name="scan"))
    done = _command("run", tmp_path / "scan.nii.gz", "-o", tmp_path / "out", "--guide-weights", guide)
    assert done.exit_code == 2
    assert "guide_weights is for Crane" in done.output
    done = _command(
        "evaluate", "--benchmark", "synthetic", "-o", tmp_path / "evaluated", "--guide-weights", guide, "-q"
    )
    assert done.exit_code == 2
    assert "guide_weights is for Crane" in done.output


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["guide.pth", "guide.safetensors", "guide.bin"])
@pytest.mark.parametrize("damage", [_truncated, Path.unlink, lambda path: path.write_bytes(b"no weights")])
def test_a_file_that_is_missing_or_damaged_is_named(
    weights: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    path = guides.write_guide(tmp_path / name)
    damage(path)
    with pytest.raises(WeightsError, match=name):
        load_detector(weights, guide_weights=path)


def test_weights_of_another_kind_are_named_with_the_right_files(weights: Path, tmp_path: Path) -> None:
    save_file(tiny.tower().state_dict(), tmp_path / "tower.safetensors")
    torch.save({"prompt_learner": {}}, tmp_path / "prompts.pth")
    for path in (weights, tmp_path / "tower.safetensors", tmp_path / "prompts.pth"):
        with pytest.raises(WeightsError, match=rf"{path.name} cannot be the guide.*dinov2_vitb14_reg4_pretrain.pth"):
            load_detector(weights, guide_weights=path)


def test_an_empty_image_has_scores_too(weights: Path, guide: Path) -> None:
    detector = load_detector(weights, guide_weights=guide)
    found = detector.predict(torch.full((1, 3, 28, 28), -1.8), [""], SharedNoise())
    assert bool(found.score_map.isfinite().all())


def test_published_weights_say_that_they_were_learned_beside_a_guide(
    guide: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plus = find_release("crane-plus-mvtec")
    known = {name: find_release(name).sha256 for name in ("crane-mvtec", "crane-plus-mvtec")}
    assert plus.guide == "DINOv2 ViT-B/14 with registers"
    for name, guided, words in (
        ("crane-plus-mvtec", None, "learned beside the features of DINOv2 ViT-B/14 with registers"),
        ("crane-plus-mvtec", guide, ""),
        ("crane-mvtec", None, ""),
        ("crane-mvtec", guide, "was learned without a guide"),
    ):
        caplog.clear()
        path = guides.write_crane(tmp_path / f"{name}.safetensors", source_sha256=known[name])
        with caplog.at_level(logging.WARNING):
            load_detector(path, guide_weights=guided)
        assert (words in caplog.text) if words else (not caplog.text)
        assert ("--guide-weights" in caplog.text) == bool(words)


def test_a_run_names_its_guide_and_another_one_is_another_case(weights: Path, guide: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", phantom_scan(name="scan", shape=(24, 24, 6)))
    keys, maps, out = {}, {}, tmp_path / "out"
    other = guides.write_guide(tmp_path / "other.pth", seed=1)
    for name, options in {
        "plain": (),
        "guided": ("--guide-weights", guide),
        "other": ("--guide-weights", other),
    }.items():
        done = _command("run", tmp_path / "scan.nii.gz", "-o", out, "--weights", weights, "--device", "cpu", *options)
        assert done.exit_code == 0, done.output
        assert "done before" not in done.output
        record = json.loads((out / "scan" / "case.json").read_text(encoding="utf-8"))
        keys[name], maps[name] = record["key"], (out / "scan" / "score.nii.gz").read_bytes()
        model = json.loads((out / "report.json").read_text(encoding="utf-8"))["manifest"]["model"]
        digest = file_sha256(Path(options[1])) if options else ""
        assert model["guide_sha256"] == digest
        page = (out / "report.html").read_text(encoding="utf-8")
        assert (f"<dt>Guide</dt><dd><code>sha256 {digest}</code>" in page) == bool(options)
    assert len(set(keys.values())) == len(set(maps.values())) == 3
    # The file may lie elsewhere.
    moved = other.rename(tmp_path / "moved.pth")
    done = _command(
        "run", tmp_path / "scan.nii.gz", "-o", out, "--weights", weights, "--device", "cpu", "--guide-weights", moved
    )
    assert "done before" in done.output


def test_without_a_guide_the_keys_are_those_from_before_there_were_any(weights: Path, guide: Path) -> None:
    assert "guide_weights" not in result_options(make_config({"guide_weights": str(guide)}))
    plain = BenchmarkScorer(load_detector(weights)).key("stretch")
    guided = BenchmarkScorer(load_detector(weights, guide_weights=guide)).key("stretch")
    assert "guide_sha256" not in plain["model"]
    assert guided["model"] == plain["model"] | {"guide_sha256": file_sha256(guide)}
    assert "guide_sha256" in _OF_THE_SCORES
    card = load_detector(weights, guide_weights=guide).card
    assert "guide_sha256" not in json.loads(card.to_json())


def test_a_given_detector_brings_its_own_guide(weights: Path, guide: Path) -> None:
    detector = medzsad.load_detector(weights, guide_weights=guide, device="cpu")
    assert detector.card.guide_sha256
    scan = phantom_scan().scan
    with pytest.raises(ConfigError, match="guide_weights would do nothing"):
        medzsad.detect(scan, detector=detector, guide_weights=str(guide))


def test_a_calibration_holds_for_its_guide_alone(weights: Path, guide: Path, tmp_path: Path) -> None:
    (tmp_path / "normal").mkdir()
    for number in range(2):
        write_nifti(tmp_path / "normal" / f"{number}.nii.gz", phantom_scan(name=str(number), shape=(24, 24, 6)))
    for name, options in {"plain": {}, "guided": {"guide_weights": guide}}.items():
        detector = load_detector(weights, **options)
        medzsad.calibrate_site(tmp_path / "normal", tmp_path / f"{name}.json", detector=detector)
    plain, guided = (read_site(tmp_path / f"{name}.json") for name in ("plain", "guided"))
    assert "guide_sha256" not in json.loads((tmp_path / "plain.json").read_text(encoding="utf-8"))
    assert (plain.guide_sha256, guided.guide_sha256) == ("", file_sha256(guide))
    assert plain.digest != guided.digest
    config = make_config({"calibration": str(tmp_path / "guided.json")})
    assert checked_site(load_detector(weights, guide_weights=guide), config) == guided
    with pytest.raises(ConfigError, match="another tower or guide"):
        checked_site(load_detector(weights), config)


def test_an_ensemble_is_another_one_with_a_guide(guide: Path, tmp_path: Path) -> None:
    paths = [
        guides.write_crane(tmp_path / f"{name}.safetensors", normal_scores=SHARP, description=name) for name in "ab"
    ]
    plain = Ensemble([load_detector(path) for path in paths]).card
    guided = Ensemble([load_detector(path, guide_weights=guide) for path in paths]).card
    assert plain.sha256 != guided.sha256
    assert "guide_sha256" not in plain.options["members"][0]
    assert guided.options["members"][0]["guide_sha256"] == file_sha256(guide)


def test_an_evaluation_names_its_guide_and_refuses_scores_of_another(
    weights: Path, guide: Path, tmp_path: Path
) -> None:
    root, source = tmp_path / "set", np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(source.integers(0, 255, (32, 32), np.uint8)).save(root / "images" / f"{number}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[4:12, 8:20] = 255
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    command = ("evaluate", "--benchmark", "colondb", "--data", root, "--weights", weights, "--device", "cpu")
    command = (*command, "-o", tmp_path / "out", "-q")
    done = _command(*command, "--guide-weights", guide)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert record["model"]["guide_sha256"] == file_sha256(guide)
    assert record["options"]["guide_weights"] == str(guide)
    assert file_sha256(guide) in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    done = _command(*command)
    assert done.exit_code == 2
    assert "made otherwise" in done.output
