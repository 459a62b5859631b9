"""`medzsad methods`."""

import json
from typing import Any

import click

from medzsad.cli.errors import reported_errors


@click.command(short_help="List the detection methods, with paper, license and known weights.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def methods(as_json: bool) -> None:
    """List the detection methods: paper, license of the authors' program, what is exact, tower, known weights."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.weights.listing import methods_records

        records = methods_records()
        click.echo(json.dumps(records, indent=2) if as_json else "\n\n".join(_text(one) for one in records))


def _text(record: dict[str, Any]) -> str:
    license_ = record["code_license"]
    fidelity = ": ".join(part for part in (record["fidelity"], record["scope"]) if part)
    known = [f"{one['name']} ({one['status']}; trained on {one['trained_on']})" for one in record["weights"]]
    uses = [what for what in ("trainable", "imported") if record[what]]
    words = {"trainable": "`medzsad train`", "imported": "`medzsad weights import` of the authors' files"}
    rows = {
        "paper": record["source"],
        "authors' code": f"license {license_}" if license_ else "",
        "fidelity": fidelity,
        "tower": record["tower"],
        "works with": " and ".join(words[what] for what in uses),
        "known weights": f"\n{'':18}".join(known) or "none",
    }
    lines = [f"  {name + ':':15} {value}" for name, value in rows.items() if value]
    return "\n".join([f"{record['name']}  [{record['title']}]", *lines])
