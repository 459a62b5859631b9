"""`medzsad weights`."""

import json
from pathlib import Path

import click

from medzsad.cli.errors import reported_errors


@click.group()
def weights() -> None:
    """List, fetch, verify and import model weights. Only `fetch` uses the network."""


@weights.command("list", short_help="List known and imported weights.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def weights_list(as_json: bool) -> None:
    """List the weights that medzsad knows by name, whether they are installed, and those that were imported."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.weights.listing import weights_records

        records = weights_records()
        if as_json:
            click.echo(json.dumps(records, indent=2))
        for one in () if as_json else records:
            click.echo(f"{one['name']}  [{one['status']}]\n    {one['description']}\n    License: {one['license']}")


@weights.command("fetch", short_help="Download, verify and install the weights NAME.")
@click.argument("name")
def weights_fetch(name: str) -> None:
    """Download the weights NAME, verify them against the pinned digest, and install them."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.weights.fetch import fetch_weights

        click.echo(fetch_weights(name))


@weights.command("verify", short_help="Check a weights file and print its sha256.")
@click.argument("weights_name", metavar="NAME_OR_FILE")
def weights_verify(weights_name: str) -> None:
    """Read all of a weights file and say what it is, with its sha256."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.weights.fetch import verify_weights

        found = verify_weights(weights_name)
        click.echo(f"{found.path}\nsha256 {found.sha256}, {found.size_bytes:,} bytes\n{found.verdict}")


@weights.command("import", short_help="Install weights from an authors' checkpoint.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Name to install under.  [that of the published file]")
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="How the method uses the weights, e.g. stage=1."
)
def weights_import(file: Path, name: str, options: tuple[str, ...]) -> None:
    """Install weights from FILE, a .pth as the authors of a method publish and train them."""
    with reported_errors(quiet=False, verbose=False):
        import yaml

        from medzsad.weights.imported import import_weights

        if wrong := [option for option in options if not option.partition("=")[2]]:
            raise click.UsageError(f"--option {wrong[0]!r} must be KEY=VALUE, such as stage=1.")
        pairs = (option.partition("=") for option in options)
        chosen = {key: yaml.safe_load(value) for key, _, value in pairs}
        click.echo(import_weights(file, name, options=chosen))


@weights.command("path", short_help="Print the path of the weights NAME.")
@click.argument("name")
def weights_path(name: str) -> None:
    """Print where the weights NAME are, or would be, installed."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.weights.manifest import weights_path as path_of

        click.echo(path_of(name))
