"""A training gives weights that can be used, and the same ones however often it was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import medzsad
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.noise import SharedNoise
from medzsad.progress import Silent
from medzsad.training.train import train
from medzsad.weights.card import card_from_json, read_card
from tests import tiny
from tests.training.tiny_training import config, options

ROOT = Path(__file__).resolve().parents[2]


class InterruptAt(Silent):
    """Sends SIGTERM to this process after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, text: str, done: int | None = None) -> None:
        if done == self._step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    path = train(config(folder), folder / "whole")
    assert path is not None
    return path


def test_the_weights_load_and_score(whole: Path) -> None:
    detector = medzsad.load_detector(whole)
    assert isinstance(detector.card.threshold, float)
    prediction = detector.predict(tiny.images(2), ["nut", "nut"], SharedNoise())
    assert prediction.score_map.shape == (2, 28, 28)
    assert bool(prediction.score_map.isfinite().all())


def test_the_weights_say_where_they_come_from(whole: Path) -> None:
    metadata = read_card(whole)
    found = metadata.provenance
    assert found["data"]["train"] == {name: {"sound": 6, "defects": 6} for name in ("nut", "cloth")}
    assert found["data"]["held_out"] == {name: {"sound": 2, "defects": 2} for name in ("nut", "cloth")}
    assert found["data"]["layout"] == "mvtec"
    assert len(found["data"]["sha256"]) == len(found["tower"]["sha256"]) == 64
    assert found["config"]["seed"] == 333
    assert found["versions"]["torch"] == torch.__version__
    assert 0 < found["best"]["stage_1"]["validation"]["pixel_ap"] <= 1
    assert metadata.clip_name == "tiny-tower"
    assert "2 generated healthy phantoms" in metadata.threshold_provenance
    assert str(whole.parent) not in metadata.to_json()


def test_an_epoch_leaves_history_curves_and_pictures(whole: Path) -> None:
    history = json.loads((whole.parent / "history.json").read_text())
    assert [record["epoch"] for record in history] == [0, 1, 2]
    assert {"losses", "rates", "validation", "by_class", "criterion", "improved", "seconds"} <= set(history[0])
    assert set(history[0]["losses"]) >= {"classification", "focal", "dice"}
    assert (whole.parent / "curves.png").stat().st_size > 1000
    assert (whole.parent / "contact_sheet.png").stat().st_size > 1000


@pytest.mark.parametrize("step", [1, 3, 5])
def test_interrupted_and_resumed_weights_are_the_same_bytes(folder: Path, whole: Path, step: int) -> None:
    out = folder / f"stopped-{step}"
    with pytest.raises(KeyboardInterrupt):
        train(config(folder), out, InterruptAt(step))
    assert not (out / "weights.safetensors").exists()
    path = train(config(folder, workers=2), out)
    assert path is not None
    assert path.read_bytes() == whole.read_bytes()


def test_with_kept_features_interrupted_weights_are_the_same_bytes(folder: Path) -> None:
    chosen = config(folder, cache={"variants": 2})
    first = train(chosen, folder / "kept")
    with pytest.raises(KeyboardInterrupt):
        train(chosen, folder / "kept-stopped", InterruptAt(4))
    second = train(chosen, folder / "kept-stopped")
    assert first is not None
    assert second is not None
    assert first.read_bytes() == second.read_bytes()


def test_both_stages_resume_to_the_same_bytes(folder: Path) -> None:
    chosen = config(folder, patience=1, epochs=8)
    first = train(chosen, folder / "stages")
    assert first is not None
    history = json.loads((folder / "stages" / "history.json").read_text())
    assert {record["stage"] for record in history} == {1, 2}
    switch = next(record["epoch"] for record in history if record["stage"] == 2)
    assert set(history[switch]["losses"]) == {"classification"}
    with pytest.raises(KeyboardInterrupt):
        train(chosen, folder / "stages-stopped", InterruptAt(3 * switch + 2))
    second = train(chosen, folder / "stages-stopped")
    assert second is not None
    assert second.read_bytes() == first.read_bytes()
    assert read_card(first).options == {"stage": 2}


def test_stage_2_changes_the_image_heads_alone(folder: Path) -> None:
    chosen = config(folder, patience=1, epochs=8)
    path = train(chosen, folder / "stages")
    assert path is not None
    state = torch.load(path.parent / "state.pt", weights_only=True)
    changed = {name for name, value in state["best"][2].items() if not torch.equal(value, state["best"][1][name])}
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"text_head", "image_head", "summary"}


def test_a_paused_training_goes_on_to_the_same_bytes(folder: Path, whole: Path) -> None:
    out = folder / "paused"
    assert train(config(folder, max_minutes=1e-9), out) is None
    path = train(config(folder), out)
    assert path is not None
    assert path.read_bytes() == whole.read_bytes()


def test_other_options_are_refused_by_name(folder: Path, whole: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed \(was 333, now 4\)"):
        train(config(folder, seed=4), whole.parent)


def test_other_data_are_refused_by_name(folder: Path, whole: Path, tmp_path: Path) -> None:
    given = options(tmp_path)
    image = next((tmp_path / "data" / "nut" / "test" / "good").glob("*.png"))
    image.write_bytes((tmp_path / "data" / "cloth" / "test" / "good" / "000.png").read_bytes())
    changed = config(folder).model_copy(update={"data": config(tmp_path, data=given["data"]).data})
    with pytest.raises(ConfigError, match="data_sha256"):
        train(changed, whole.parent)


def test_bad_data_are_refused_in_one_list_or_skipped(tmp_path: Path) -> None:
    chosen = config(tmp_path, epochs=1)
    images = sorted((tmp_path / "data" / "nut" / "test" / "good").glob("*.png"))
    images[0].write_bytes(b"no image")
    images[1].write_bytes(b"none either")
    with pytest.raises(ConfigError, match=r"(?s)000\.png.*001\.png"):
        train(chosen, tmp_path / "out")
    assert train(chosen.model_copy(update={"skip_bad": True}), tmp_path / "out") is not None


def test_prompts_can_be_trained_further(folder: Path, whole: Path) -> None:
    path = train(config(folder, start=str(whole), epochs=1), folder / "further")
    assert path is not None
    assert read_card(path).sizes == read_card(whole).sizes


def test_a_missing_tower_is_named(folder: Path) -> None:
    with pytest.raises(WeightsError, match="absent"):
        train(config(folder, tower="absent.safetensors"), folder / "none")


def test_accumulation_changes_little_and_nothing_without_maps(folder: Path) -> None:
    path = train(config(folder, accumulate=2, epochs=1), folder / "parts")
    assert path is not None
    first = json.loads((folder / "whole" / "history.json").read_text())[0]["losses"]
    parts = json.loads((path.parent / "history.json").read_text())[0]["losses"]
    assert parts["orthogonal"] == pytest.approx(first["orthogonal"], rel=0.02)


@pytest.mark.slow
def test_killed_and_started_again_the_weights_are_the_same_bytes(folder: Path, whole: Path) -> None:
    (folder / "train.yaml").write_text(yaml.safe_dump(options(folder)))
    out = folder / "killed"
    command = [sys.executable, "-m", "medzsad", "train", str(folder / "train.yaml"), "-o", str(out), "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    kills = 0
    for _ in range(3):
        before = (out / "state.pt").stat().st_mtime_ns if (out / "state.pt").exists() else 0
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        while process.poll() is None and not (
            (out / "state.pt").exists() and (out / "state.pt").stat().st_mtime_ns > before
        ):
            time.sleep(0.005)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    assert (out / "weights.safetensors").read_bytes() == whole.read_bytes()


def test_metadata_without_provenance_still_reads(whole: Path) -> None:
    plain = read_card(whole).model_dump(mode="json")
    del plain["provenance"]
    assert card_from_json(json.dumps(plain)).provenance == {}
