"""Files of the authors of AnomalyCLIP and its siblings: every key accounted for, another CLIP tower refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medzsad.clip.tower import Tower
from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.detector import Detector
from medzsad.methods.prompt_files import PromptFileImporter
from medzsad.methods.prompts import table_ids
from medzsad.methods.registry import METHODS, find_method
from medzsad.training.config import make_train_config
from medzsad.training.start import first_model, trained_method
from medzsad.weights.card import read_card
from medzsad.weights.imported import read_checkpoint, recognized_method, translated, write_imported
from medzsad.weights.store import read_weights, save_weights
from tests import tiny
from tests.methods import worded

CRANE = Path(__file__).resolve().parents[3] / "shared" / "data" / "checkpoints" / "crane"
NAMES = {
    "trained_on_mvtec_crane": "crane-mvtec",
    "trained_on_mvtec_cranep": "crane-plus-mvtec",
    "trained_on_visa_crane": "crane-visa",
    "trained_on_visa_cranep": "crane-plus-visa",
}
# Keys of the published files, and how many of them are unused.
PUBLISHED = {"anomalyclip": (32, 16), "crane": (16, 0), "faprompt": (36, 16)}


def _translate(name: str, state: dict[str, Tensor]) -> Translation:
    importer = find_method(name).importer
    assert isinstance(importer, PromptFileImporter)
    return importer.translate_state(state)


@pytest.mark.parametrize("name", worded.NAMES)
def test_the_published_structure_is_accounted_for_key_by_key(name: str) -> None:
    state = worded.official(name)
    keys, ignored = PUBLISHED[name]
    found = _translate(name, state)
    assert (len(state), len(found.ignored)) == (keys, ignored)
    assert len(found.state) - 1 + len(found.aliases) + len(found.ignored) == keys  # token_rows stands for the aliases
    model = find_method(name).model(**found.sizes)
    assert {key: value.shape for key, value in model.inference_state().items()} == {
        key: value.shape for key, value in found.state.items()
    }
    assert torch.equal(found.state["deep.5"], state["compound_prompts_text.5"])
    assert torch.equal(found.state["normal"], state["ctx_pos"][0, 0])
    assert torch.equal(found.state["abnormal"].flatten(0, -2), state["ctx_neg"].flatten(0, -2))


@pytest.mark.parametrize("name", worded.NAMES)
def test_a_file_is_recognized_as_that_of_its_own_method_alone(name: str) -> None:
    content = {"prompt_learner": worded.official(name)}
    assert recognized_method(content, Path("epoch_5.pth")).name == name
    importers = {other: find_method(other).importer for other in METHODS}
    assert [other for other, one in importers.items() if one is not None and one.recognizes(content)] == [name]


@pytest.mark.parametrize("name", worded.NAMES)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapter.weight": torch.zeros(2)}, r"adapter\.weight"),
        ({"ctx_pos": None}, "normal"),
        ({"ctx_neg": torch.zeros(1, 1, 3, 24)}, "ctx_neg contradict"),
        ({"compound_prompts_text.3": torch.zeros(5, 24)}, r"deep\.3"),
        ({"compound_prompts_text.2": torch.full((4, 24), torch.nan)}, "not finite"),
        ({"token_suffix_neg": None}, "token_suffix_neg is missing"),
        ({"token_middle_neg": torch.zeros(1)}, "token_middle_neg is unknown"),
        ({"token_prefix_pos": torch.zeros(1, 1, 1, 24)}, "two embeddings of the token 49406 differ"),
        ({"token_prefix_pos": torch.zeros(24)}, "contradict"),
        ({"tokenized_prompts_pos": torch.zeros(1, 1, 77, dtype=torch.int32)}, "other words"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_incomplete_unknown_or_contradictory_weights_are_refused(
    name: str, changes: dict[str, Tensor | None], words: str
) -> None:
    state = {key: value for key, value in (worded.official(name) | changes).items() if value is not None}
    with pytest.raises(WeightsError, match=words):
        translated({"prompt_learner": state}, find_method(name), Path("epoch_15.pth"))


@pytest.mark.parametrize("name", worded.NAMES)
def test_prompts_are_used_with_the_clip_tower_that_they_were_learned_on_and_no_other(name: str, tmp_path: Path) -> None:
    tower, other = worded.tower(name), worded.tower(name, seed=1)
    table = tower.clip.token_embedding.weight
    torch.save({"prompt_learner": worded.official(name, tiny.WIDTH, 1, table)}, tmp_path / "epoch_5.pth")
    imported = tmp_path / "imported.safetensors"
    write_imported(tmp_path / "epoch_5.pth", imported, spec=worded.spec(name))
    method, card = worded.method_and_card(name)
    Detector(tower, read_weights(imported).model, method, card)
    with pytest.raises(WeightsError, match="another CLIP tower"):
        Detector(other, read_weights(imported).model, method, card)
    config = make_train_config({"method": name, "data": {"root": "x"}, "start": str(imported)}, tmp_path)
    assert first_model(config, trained_method(config), tower).sizes["table_rows"] == 6
    with pytest.raises(WeightsError, match="another CLIP tower"):
        first_model(config, trained_method(config), other)


@pytest.mark.parametrize("name", worded.NAMES)
def test_one_number_of_the_token_table_decides(name: str) -> None:
    tower = worded.tower(name)
    table = tower.clip.token_embedding.weight.clone()
    table[269, 3] = torch.nextafter(table[269, 3], table[269, 3] + 1)
    found = _translate(name, worded.official(name, tiny.WIDTH, 1, table))
    model = find_method(name).model(**found.sizes)
    model.load_state_dict(found.state)
    with pytest.raises(WeightsError, match="another CLIP tower"):
        model.check_tower(tower)


def test_models_trained_here_keep_no_rows_and_their_patches_have_to_be_projected(tmp_path: Path) -> None:
    model = worded.model("anomalyclip")
    assert model.token_rows.shape == (0, tiny.WIDTH)
    save_weights(tmp_path / "own.safetensors", model, worded.method_and_card("anomalyclip")[1])
    read_weights(tmp_path / "own.safetensors").model.check_tower(worded.tower("anomalyclip", seed=1))
    with pytest.raises(WeightsError, match="patch_post"):
        model.check_tower(Tower(tiny.tower(), tiny.SPEC))


@pytest.mark.parametrize("name", worded.NAMES)
def test_an_imported_file_says_what_it_asks_of_its_tower(name: str, tmp_path: Path) -> None:
    torch.save({"prompt_learner": worded.official(name)}, tmp_path / "epoch_15.pth")
    write_imported(tmp_path / "epoch_15.pth", tmp_path / "out.safetensors")
    card = read_card(tmp_path / "out.safetensors")
    assert (card.method, card.samples, card.class_name, card.clip_name) == (name, 1, "", "ViT-L-14-336")
    assert (card.spec.layers, card.spec.local_from) == ((24,), 6)
    assert (card.spec.activation, card.spec.position_resize, card.spec.patch_post) == (
        "quick_gelu",
        "bilinear",
        "projected",
    )


@pytest.mark.skipif(not CRANE.is_dir(), reason="../shared/data/checkpoints/crane is not here")
def test_the_published_files_of_crane_are_imported_key_by_key(tmp_path: Path) -> None:
    files = sorted(CRANE.glob("*/epoch_*.pth"))
    assert len(files) == 4
    rows = []
    for path in files:
        content: Any = read_checkpoint(path)
        assert recognized_method(content, path).name == "crane"
        found = translated(content, find_method("crane"), path)
        assert (len(found.aliases), len(found.ignored)) == (6, 0)
        out = tmp_path / "out.safetensors"
        card = write_imported(path, out)
        assert card.name == NAMES[path.parent.name]
        assert ("DINOv2" in card.description) == card.name.startswith("crane-plus")
        model = read_weights(out).model
        sizes = {"width": 768, "context_tokens": 12, "deep_prompts": 8, "deep_tokens": 4, "table_rows": 6}
        assert model.sizes == sizes
        assert float(model.normal.std()) > 0.02
        learner = content["prompt_learner"]
        assert torch.equal(model.abnormal, learner["ctx_neg"][0, 0])
        assert torch.equal(
            model.token_rows[table_ids().tolist().index(worded.END)], learner["token_suffix_pos"][0, 0, 2]
        )
        rows.append(model.token_rows)
    assert all(torch.equal(rows[0], other) for other in rows)
    assert len(rows[0].unique(dim=0)) == 6
