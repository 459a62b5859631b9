"""Files of the authors of CoPS, every key of them accounted for (METHODS B.8)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from medzsad.errors import WeightsError
from medzsad.methods.cops.importer import translate
from medzsad.methods.cops.model import CoPS
from medzsad.weights.card import read_card
from medzsad.weights.imported import write_imported
from medzsad.weights.store import read_weights


def official(width: int = 24, device: str = "cpu") -> dict[str, Tensor]:
    """A state dict of the authors' structure with random numbers."""
    torch.manual_seed(2)

    def new(*shape: int) -> Tensor:
        return torch.randn(shape, device=device)

    def linear(name: str, rows: int = width) -> dict[str, Tensor]:
        return {f"{name}.weight": new(rows, width), f"{name}.bias": new(rows)}

    found = {f"ctx_{kind}": new(1, 1, 14, width) for kind in ("pos", "neg")}
    found |= {f"t_{kind}": new(6, width) for kind in "na"}
    found |= {"extractor.attn.in_proj_weight": new(3 * width, width), "extractor.attn.in_proj_bias": new(3 * width)}
    for name in ("extractor.attn.out_proj", "extractor.mlp.c_fc", "extractor.mlp.c_proj"):
        found |= linear(name)
    for norm in ("ln_1", "ln_2"):
        found |= {f"extractor.{norm}.weight": new(width), f"extractor.{norm}.bias": new(width)}
    found |= linear("vae_decoder.net.0") | linear("vae_decoder.net.2")
    return found | {f"compound_prompts_text.{place}": new(4, width) for place in range(8)}


def test_the_published_structure_is_accounted_for_key_by_key() -> None:
    state = official(768, "meta")
    assert (len(state), sum(value.numel() for value in state.values())) == (28, 4_783_104)
    found = translate(state)
    assert found.ignored == found.aliases == ()
    assert len(found.state) == 28
    assert found.sizes == {
        "width": 768,
        "context_tokens": 6,
        "state_tokens": 6,
        "category_tokens": 2,
        "deep_prompts": 8,
        "deep_tokens": 4,
        "heads": 12,
    }


def test_each_number_arrives_under_its_name() -> None:
    state = official()
    found = translate(state).state
    for theirs, ours in {
        "t_a": "query_abnormal",
        "extractor.attn.out_proj.bias": "extractor.attention.out_proj.bias",
        "extractor.ln_2.weight": "extractor.norm_mlp.weight",
        "extractor.mlp.c_fc.weight": "extractor.expand.weight",
        "vae_decoder.net.2.bias": "decoder.2.bias",
        "compound_prompts_text.5": "deep.5",
    }.items():
        assert torch.equal(found[ours], state[theirs])
    assert torch.equal(found["prompt_normal"], state["ctx_pos"][0, 0])
    assert torch.equal(found["prompt_abnormal"], state["ctx_neg"][0, 0])
    assert set(found) == set(CoPS(**translate(state).sizes).inference_state())


def test_what_no_score_depends_on_is_left_out() -> None:
    more = {"vae_encoder.mean.weight": torch.zeros(24, 24), "token_prefix": torch.zeros(1, 1, 24)}
    more |= {"token_suffix": torch.zeros(2), "extractor_.ln_1.bias": torch.zeros(24), "projector.bias": torch.zeros(2)}
    found = translate(official() | more)
    assert set(found.ignored) == set(more)
    assert all(torch.equal(found.state[name], value) for name, value in translate(official()).state.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extractor.mlp.c_fc.bias": None}, r"extractor\.expand\.bias"),
        ({"compound_prompts_text.3": None}, r"deep\."),
        ({"adapter.weight": torch.zeros(2)}, r"adapter\.weight"),
        ({"extractor.attn.scale": torch.zeros(2)}, r"extractor\.attention\.scale"),
        ({"t_a": torch.zeros(6, 25)}, "query_abnormal"),
        ({"t_n": torch.zeros(13, 24)}, "no context"),
        ({"ctx_pos": torch.zeros(14)}, "prompt_normal"),
        ({"ctx_neg": torch.zeros(1, 2, 14, 24)}, "prompt_abnormal"),
        ({"vae_decoder.net.0.weight": torch.full((24, 24), torch.nan)}, "not finite"),
        ({7: torch.zeros(1)}, "7"),
    ],
    ids=str,
)
def test_incomplete_unknown_or_damaged_weights_are_refused(
    tmp_path: Path, changes: dict[str, Tensor | None], words: str
) -> None:
    state = {name: value for name, value in (official() | changes).items() if value is not None}
    torch.save({"prompt_learner": state}, tmp_path / "epoch_10.pth")
    with pytest.raises(WeightsError, match=words):
        write_imported(tmp_path / "epoch_10.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_width_that_has_no_twelve_heads_is_refused() -> None:
    with pytest.raises(WeightsError, match="12 heads"):
        translate(official(20))


def test_an_imported_file_says_how_it_is_used(tmp_path: Path) -> None:
    torch.save({"prompt_learner": official()}, tmp_path / "epoch_10.pth")
    write_imported(tmp_path / "epoch_10.pth", tmp_path / "out.safetensors", options={"neighbors": 3})
    card = read_card(tmp_path / "out.safetensors")
    assert (card.method, card.samples, card.class_name) == ("cops", 10, "")
    assert card.options == {"neighbors": 3, "normal_share": 0.26, "probability_share": 0.9}
    assert card.spec.attention == "vv"
    assert torch.equal(read_weights(tmp_path / "out.safetensors").model.deep[7], official()["compound_prompts_text.7"])
