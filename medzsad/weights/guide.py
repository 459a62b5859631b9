"""The second backbone that guides the features of a tower: who may have one, and its file. Never from the network."""

import logging
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from medzsad.clip.dino import ADVICE, DinoGuide, dino_from_state
from medzsad.errors import ConfigError, WeightsError
from medzsad.files import file_sha256
from medzsad.methods.base import Method
from medzsad.methods.registry import find_method, method_names
from medzsad.weights.card import WeightsCard
from medzsad.weights.imported import read_checkpoint
from medzsad.weights.manifest import list_releases

_log = logging.getLogger(__name__)


def load_guide(path: Path | str, image_size: int) -> tuple[DinoGuide, str]:
    """DINOv2 in float32, frozen, and the sha256 of its file.

    Args:
        path: Meta's PyTorch file, or timm's as safetensors or PyTorch file.
        image_size: Side of the images in pixels.

    Raises:
        ConfigError: DINOv2 cannot read images of this size.
        WeightsError: There is no such file, it is damaged, or it holds another model.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no file {path}, which should hold the guide of --guide-weights. {ADVICE}")
    content = _content(path)
    try:
        return dino_from_state(content, image_size), file_sha256(path)
    except WeightsError as error:
        raise WeightsError(f"{path.name} cannot be the guide: {error}") from error


def _content(path: Path) -> object:
    if path.suffix != ".safetensors":
        return read_checkpoint(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file ({error}). Fetch it again.") from error


def check_guidable(method: Method, card: WeightsCard) -> None:
    """Raises a ConfigError if weights cannot use guided features.

    Args:
        method: Of the weights.
        card: Of the weights.
    """
    if method.guidable and card.spec.attention != "plain":
        return
    titles = ", ".join(one.title for one in map(find_method, method_names()) if one.guidable)
    what = "read a tower without local attention" if method.guidable else f"are of {method.title}"
    raise ConfigError(
        f"The weights {card.name} {what}: guide_weights is for {titles} on a vision transformer with local attention. "
        "Leave it out."
    )


def tell_of_guide(card: WeightsCard, *, guided: bool) -> None:
    """Warns in the log where published weights were learned beside a guide and are used without it, or the reverse.

    Args:
        card: Of the weights.
        guided: Whether there is a guide.
    """
    release = next((one for one in list_releases() if one.sha256 and one.sha256 == card.source_sha256), None)
    if release is None or bool(release.guide) == guided:
        return
    if guided:
        _log.warning(
            "%s was learned without a guide; its scores with --guide-weights are not those of its authors.", card.name
        )
    else:
        _log.warning(
            "%s was learned beside the features of %s. Give the file of that backbone with --guide-weights: without it "
            "scores are not as published.",
            card.name,
            release.guide,
        )
