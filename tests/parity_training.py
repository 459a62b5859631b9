"""What the comparisons of AnomalyCLIP, Crane and FAPrompt share: the imported model, and one step of its training."""

from typing import Any

import torch
from torch import Tensor

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Method
from medzsad.methods.objective import Objective, Truth
from medzsad.methods.prompt_files import PromptFileImporter
from tests.parity import Reference


def imported(reference: Reference, method: Method) -> tuple[Any, dict[str, str]]:
    """The model of the file's prompts, and the authors' names of its parameters by ours."""
    importer, official = method.importer, reference.part("prompts.")
    assert isinstance(importer, PromptFileImporter)
    translation = importer.translate_state(official)
    model = method.model(**translation.sizes)
    model.load_state_dict(translation.state)
    return model, {name: key for key in official if (name := importer.our_name(key))}


def trained(
    reference: Reference,
    model: Any,
    features: ImageFeatures,
    objective: Objective,
    official: dict[str, str],
    prefix: str,
) -> dict[str, Tensor]:
    """Losses and gradient norms of one step, under keys that begin with `prefix`."""
    labels, masks = reference.tensors["train.label"], reference.tensors["train.mask"]
    truth = Truth(labels.long(), masks, torch.ones(len(labels), dtype=torch.bool))
    model.zero_grad(set_to_none=True)
    stage, source, names = objective.stages[0], torch.Generator().manual_seed(0), [""] * len(labels)
    parts = objective.losses(model, reference.tower, features, names, truth, {}, stage, source)
    total = torch.stack(list(parts.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    found = {f"{prefix}loss.{name}": value.detach() for name, value in (parts | {"total": total}).items()}
    return found | reference.gradients(model, f"{prefix}grad_norm.", official)
