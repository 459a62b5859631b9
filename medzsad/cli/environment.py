"""`medzsad info`."""

import json
from typing import Any

import click

from medzsad.cli.errors import reported_errors


@click.command(short_help="Show versions, GPUs, DICOM decoders and installed weights.")
@click.option("--devices", is_flag=True, help="Ask torch which devices it can use, which takes some seconds.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def info(devices: bool, as_json: bool) -> None:
    """Show versions, graphics cards, the DICOM transfer syntaxes that can be decoded, and installed weights."""
    with reported_errors(quiet=False, verbose=False):
        found = _environment(devices)
        click.echo(json.dumps(found, indent=2) if as_json else _text(found))


def _environment(devices: bool) -> dict[str, Any]:
    from medzsad.environment import nvidia_cards, package_versions, torch_devices
    from medzsad.scan.decoders import decodable
    from medzsad.weights.listing import weights_records

    found: dict[str, Any] = {"versions": package_versions(), "nvidia_cards": nvidia_cards()}
    if devices:
        found["torch_devices"] = torch_devices()
    return found | {
        "transfer_syntaxes": decodable(),
        "weights": weights_records(),
    }


def _text(found: dict[str, Any]) -> str:
    lines = [f"{name:18} {value}" for name, value in found["versions"].items()]
    lines.append(f"{'NVIDIA cards':18} {', '.join(found['nvidia_cards']) or 'none'}")
    lines += [f"{'device':18} {name} ({what})" for name, what in found.get("torch_devices", {}).items()]
    missing = [name for name, works in found["transfer_syntaxes"].items() if not works]
    lines.append(f"{'DICOM decoders':18} {'missing: ' + '; '.join(missing) if missing else 'all present'}")
    lines += [f"{'weights':18} {entry['name']} ({entry['status']})" for entry in found["weights"]]
    return "\n".join(lines)
