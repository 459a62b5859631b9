"""AnomalyCLIP (arXiv 2310.18961): one learned prompt for normal and one for abnormal objects (METHODS D.1)."""

from collections.abc import Mapping

from torch import Tensor

from medzsad.methods.base import Method
from medzsad.methods.object_prompts import ObjectPromptObjective, ObjectPromptOptions, ObjectPrompts
from medzsad.methods.prompt_files import PromptFileImporter
from medzsad.methods.prompts import TOWER


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    tokens, width = state["normal"].shape
    return {"text_width": width, "context_tokens": tokens}


# The authors' programs default to layers 6, 12, 18 and 24. The published weights never met them: until April 2025 these
# four were the same tensor, that of layer 24, and the authors' scripts have named layer 24 alone since.
METHOD = Method(
    name="anomalyclip",
    title="AnomalyCLIP",
    source="Object-agnostic prompt learning, arXiv 2310.18961",
    model=ObjectPrompts,
    spec=TOWER,
    clip_name="ViT-L-14-336",
    train_options=ObjectPromptOptions,
    objective=ObjectPromptObjective,
    importer=PromptFileImporter(
        title="AnomalyCLIP",
        sizes=_sizes,
        marks=("compound_prompt_projections.",),
        foreign=("patch_meta_net.", "t_n"),
        unused=r"compound_prompt_projections\..*",
    ),
    protocol="anomalyclip",
    code_license="MIT",
    fidelity="exact",
    scope="Inference and training, with the authors' weights files; the map is the mean over layers, not their sum.",
)
