"""All weights that can be named on the command line: the known ones, and those that were imported; without torch."""

from pathlib import Path
from typing import Any

from medzsad.errors import WeightsError
from medzsad.weights.manifest import cache_dir, list_releases


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
