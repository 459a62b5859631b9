"""What can be named on the command line: weights (known or imported, listed without torch), and methods."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzsad.errors import WeightsError
from medzsad.weights.manifest import cache_dir, list_releases

if TYPE_CHECKING:
    from medzsad.methods.base import Method


def weights_records() -> list[dict[str, Any]]:
    """Name, kind, status, path, license, source and description of all weights, those that were imported last."""
    releases = list_releases()
    known = {release.file for release in releases}
    files = sorted(path for path in cache_dir().glob("*.safetensors") if path.name not in known)
    return [release.record() for release in releases] + [_imported(path) for path in files]


def _imported(path: Path) -> dict[str, Any]:
    from medzsad.weights.card import read_card  # only whoever has imported something waits for pydantic

    record = {"name": path.stem, "kind": "prompts", "status": "imported", "path": str(path)}
    try:
        card = read_card(path)
    except WeightsError as error:
        return record | {"status": "damaged", "license": "unknown", "source": "unknown", "description": str(error)}
    return record | {"license": card.license, "source": card.source, "description": card.description}


def methods_records() -> list[dict[str, Any]]:
    """What is known about each method, our own first, as plain values; those of other packages are imported for it.

    Returns:
        Per method its `name`, `title`, `source`, `code_license`, `fidelity`, `scope` and `tower`, whether it is
        `trainable` and its authors' files can be `imported`, and `weights`: name, status and training data of those
        that are known.

    Raises:
        ConfigError: Another package registers a method that cannot be imported.
    """
    # These import torch, which a list of weights can do without.
    from medzsad.methods.registry import find_method, method_names

    return [_method_record(find_method(name)) for name in method_names()]


def _method_record(method: "Method") -> dict[str, Any]:
    fields = ("name", "title", "source", "code_license", "fidelity", "scope")
    return {
        **{field: getattr(method, field) for field in fields},
        "tower": method.clip_name,
        "trainable": method.train_options is not None or method.memory is not None,
        "imported": method.importer is not None,
        "weights": [
            {"name": one.name, "status": one.status, "trained_on": one.trained_on}
            for one in list_releases()
            if one.method == method.name
        ],
    }
