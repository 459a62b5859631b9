"""`medzsad inspect`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.cli.errors import reported_errors
from medzsad.cli.options import ConfiguredCommand, given

if TYPE_CHECKING:
    from medzsad.config import RunConfig
    from medzsad.scan.records import Candidates

# Of the options of `run`, those that decide which series and files there are and whether they are eligible.
_OPTIONS = (
    "series",
    "frame",
    "all_frames",
    "allow_irregular",
    "allow_labels",
    "min_slices",
    "max_voxels",
    "max_archive_bytes",
)


@click.command(
    cls=ConfiguredCommand,
    models=["medzsad.config:RunConfig"],
    only=_OPTIONS,
    short_help="List what is in SCANS and what `run` would do with it.",
)
@click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("-v", "--verbose", is_flag=True, help="List the files that were not understood.")
def inspect(scans: tuple[Path, ...], as_json: bool, verbose: bool, **flags: Any) -> None:
    """List every series and file in SCANS with its grid, and what `run` would do with it and why.

    Only headers are read. What the pixels alone show, such as damage or a mask in place of a scan, `run` finds out.
    """
    with reported_errors(quiet=False, verbose=verbose):
        from medzsad.config import make_config

        candidates = _candidates(scans, make_config(given(flags)))
        click.echo(_json(candidates) if as_json else _table(candidates))


def _candidates(paths: Sequence[Path], config: "RunConfig") -> "Candidates":
    from medzsad.scan.archive import temporary_unpack_dir
    from medzsad.scan.limits import read_limits
    from medzsad.scan.sources import FolderSource

    with temporary_unpack_dir() as unpack_dir:
        return FolderSource.as_asked(paths, config, unpack_dir).candidates(read_limits(config))


def _table(candidates: "Candidates") -> str:
    """A table for reading, one row per series or file, and a line that counts."""
    from io import StringIO

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("case", "kind", "modality", "grid", "spacing mm", "verdict"):
        table.add_column(column, no_wrap=column != "verdict")
    for candidate in candidates:
        verdict = "ok" if candidate.eligible else str(candidate.code or "a fault of medzsad, please report it")
        kind = "-" if candidate.kind == "unknown" else candidate.kind
        verdict = ": ".join(part for part in (verdict, candidate.reason, " ".join(candidate.notes)) if part)
        table.add_row(
            *(escape(text) for text in (candidate.name, kind, candidate.modality or "-")),
            "x".join(map(str, candidate.shape)) or "-",
            " x ".join(f"{mm:.2f}" for mm in candidate.spacing_mm) or "-",
            escape(verdict),
        )
    buffer = StringIO()
    Console(file=buffer, width=160).print(table)
    remark = f" {candidates.remark}" if candidates.remark else ""
    eligible = sum(candidate.eligible for candidate in candidates)
    rows = "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().split("\n"))
    return f"{rows}\n{len(candidates)} found, {eligible} eligible.{remark}"


def _json(candidates: "Candidates") -> str:
    """The same as a JSON list."""
    return json.dumps(
        [
            {
                "name": candidate.name,
                "label": candidate.label,
                "kind": candidate.kind,
                "modality": candidate.modality,
                "series_uid": candidate.series_uid,
                "description": candidate.description,
                "shape": list(candidate.shape),
                "spacing_mm": [round(mm, 6) for mm in candidate.spacing_mm],
                "frame": candidate.frame,
                "files": len(candidate.files),
                "eligible": candidate.eligible,
                "code": candidate.code,
                "reason": candidate.reason,
                "notes": list(candidate.notes),
            }
            for candidate in candidates
        ],
        indent=2,
        ensure_ascii=False,
    )
