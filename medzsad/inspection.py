"""What `medzsad inspect` and `medzsad info` print."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from medzsad.config import RunConfig
from medzsad.methods.load import list_weights
from medzsad.pipeline import read_limits
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.decoders import decodable
from medzsad.scan.discover import discover
from medzsad.scan.records import Candidate, Candidates
from medzsad.version import __version__

_PACKAGES = (
    "torch",
    "open_clip_torch",
    "monai",
    "highdicom",
    "pydicom",
    "nibabel",
    "SimpleITK",
    "numpy",
)


def inspect_scans(paths: Sequence[Path], config: RunConfig) -> Candidates:
    """Every series and file under `paths`, with the verdict that `run` would come to from its header."""
    with temporary_unpack_dir() as unpack_dir:
        return discover(
            paths,
            limits=read_limits(config),
            series=config.series,
            frame=config.frame,
            all_frames=config.all_frames,
            unpack_dir=unpack_dir,
        )


def inspection_table(candidates: Sequence[Candidate]) -> str:
    """A table for reading, one row per series or file, and a line that counts."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("case", "kind", "modality", "grid", "spacing mm", "verdict"):
        table.add_column(column, no_wrap=column != "verdict")
    for candidate in candidates:
        verdict = "ok" if candidate.eligible else str(candidate.code or "a fault of medzsad, please report it")
        table.add_row(
            *(_escaped(text) for text in (candidate.name, candidate.kind, candidate.modality or "-")),
            "x".join(map(str, candidate.shape)) or "-",
            " x ".join(f"{mm:.2f}" for mm in candidate.spacing_mm) or "-",
            _escaped(f"{verdict}: {candidate.reason}" if candidate.reason else verdict),
        )
    buffer = StringIO()
    Console(file=buffer, width=160).print(table)
    eligible = sum(candidate.eligible for candidate in candidates)
    remark = f" {candidates.remark}" if isinstance(candidates, Candidates) and candidates.remark else ""
    return f"{buffer.getvalue().rstrip()}\n{len(candidates)} found, {eligible} eligible.{remark}"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def inspection_json(candidates: Sequence[Candidate]) -> str:
    """The same as a JSON list."""
    return json.dumps(
        [
            {
                "name": candidate.name,
                "label": candidate.label,
                "kind": candidate.kind,
                "modality": candidate.modality,
                "series_uid": candidate.series_uid,
                "shape": list(candidate.shape),
                "spacing_mm": [round(mm, 6) for mm in candidate.spacing_mm],
                "frame": candidate.frame,
                "files": len(candidate.files),
                "eligible": candidate.eligible,
                "code": candidate.code,
                "reason": candidate.reason,
            }
            for candidate in candidates
        ],
        indent=2,
        ensure_ascii=False,
    )


def weights_json() -> str:
    """The known weights as a JSON list."""
    return json.dumps([entry.record() for entry in list_weights()], indent=2)


def weights_text() -> str:
    """The known weights for reading: name, whether they are installed, licence and what they are."""
    return "\n".join(
        f"{entry.name}  [{entry.status}]\n    {entry.description}\n    Licence: {entry.licence}"
        for entry in list_weights()
    )


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"medzsad": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def environment() -> dict[str, Any]:
    """Versions, devices, decodable transfer syntaxes and installed weights as plain values."""
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": package_versions(),
        "devices": {"cpu_threads": torch.get_num_threads(), "cuda": cuda},
        "transfer_syntaxes": decodable(),
        "weights": [entry.record() for entry in list_weights()],
    }


def environment_json() -> str:
    """`environment` as JSON."""
    return json.dumps(environment(), indent=2)


def environment_text() -> str:
    """`environment` as lines for reading."""
    found = environment()
    lines = [f"{name:18} {value}" for name, value in found["versions"].items()]
    lines.append(f"{'cuda':18} {', '.join(found['devices']['cuda']) or 'none; running on the CPU'}")
    missing = [name for name, works in found["transfer_syntaxes"].items() if not works]
    lines.append(f"{'DICOM decoders':18} {'missing: ' + ', '.join(missing) if missing else 'all present'}")
    lines += [f"{'weights':18} {entry['name']} ({entry['status']})" for entry in found["weights"]]
    return "\n".join(lines)
