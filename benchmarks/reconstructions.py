"""What parts of the PILOT-style and human-free-style reconstructions do on toy data, those that do nothing included.

`python benchmarks/reconstructions.py --output benchmarks/results/reconstructions.json` measures each part against its
absence over six seeds. A claim holds where it is true in at least five of six.

The toys are of our own making and favor the mechanisms that they are built to show: made-up features of 48 dimensions,
made-up scenes of 56 pixels, a random encoder and a random vision transformer, no CLIP. Their sizes were chosen on seeds
0 to 5, not on those that are reported. Nothing here is evidence about medical images, nor about the papers.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
import reconstruction_guidance
import reconstruction_noise
import reconstruction_pilot
import reconstruction_window
import torch
from reconstruction_claims import Claim, Figures, Verdict, judged, table


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the reconstructions.

    Attributes:
        measure: Gives all figures of a seed.
        claims: What is claimed of them.
    """

    measure: Callable[[int], Figures]
    claims: list[Claim]


def all_parts(scale: float = 1.0) -> dict[str, Part]:
    """The parts by name.

    Args:
        scale: Of steps of learning and of images; less than 1 for a quick look.
    """
    steps, test = max(2, int(150 * scale)), max(6, int(60 * scale))
    full = reconstruction_pilot.Effort()
    effort = replace(
        full,
        steps=max(2, int(full.steps * scale)),
        train=max(16, int(full.train * scale)),
        test=max(8, int(full.test * scale)),
    )
    return {
        "PILOT": Part(lambda seed: reconstruction_pilot.measure(seed, effort), reconstruction_pilot.claims()),
        "OAGM": Part(lambda seed: reconstruction_noise.measure(seed, steps, test), reconstruction_noise.claims()),
        "MPTS": Part(
            lambda seed: reconstruction_guidance.measure(seed, steps, 2 * test), reconstruction_guidance.claims()
        ),
        "LAA": Part(lambda seed: reconstruction_window.measure(seed, steps, test), reconstruction_window.claims()),
    }


def seeds_from(text: str) -> list[int]:
    """The seeds from FIRST..LAST, both included, or one alone.

    Raises:
        click.BadParameter: It is neither.
    """
    written = re.fullmatch(r"([0-9]+)(?:\.\.([0-9]+))?", text)
    seeds = range(int(written[1]), int(written[2] or written[1]) + 1) if written else range(0)
    if not seeds:
        raise click.BadParameter(f"{text!r} is not of the form 100..105.", param_hint="--seeds")
    return list(seeds)


def record(
    seeds: list[int],
    runs: Mapping[str, list[Figures]],
    verdicts: Mapping[str, list[Verdict]],
    seconds: Mapping[str, float],
) -> str:
    """All verdicts and the figures of every seed, as JSON."""
    parts = {
        name: {
            "seconds": round(seconds[name], 1),
            "claims": [one.record() for one in verdicts[name]],
            "figures": {key: [round(run[key], 6) for run in found] for key in found[0]},
        }
        for name, found in runs.items()
    }
    return json.dumps({"seeds": seeds, "parts": parts}, indent=1) + "\n"


@click.command()
@click.option("--seeds", default="100..105", show_default=True, help="First and last seed.")
@click.option("--threads", default=1, show_default=True, help="Processor threads.")
@click.option("--scale", default=1.0, show_default=True, help="Of steps and images; less for a quick look.")
@click.option("--output", type=click.Path(path_type=Path), help="Also write all figures here, as JSON.")
def main(seeds: str, threads: int, scale: float, output: Path | None) -> None:
    """Prints the table of claims."""
    torch.set_num_threads(threads)
    chosen = seeds_from(seeds)
    runs: dict[str, list[Figures]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    seconds: dict[str, float] = {}
    for name, part in all_parts(scale).items():
        started = time.monotonic()
        runs[name] = [part.measure(seed) for seed in chosen]
        verdicts[name] = [judged(claim, runs[name]) for claim in part.claims]
        seconds[name] = time.monotonic() - started
        click.echo(f"{name}: {seconds[name]:.0f} s", err=True)
    click.echo(table(verdicts))
    if output is not None:
        output.write_text(record(chosen, runs, verdicts, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
