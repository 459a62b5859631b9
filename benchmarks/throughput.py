"""Bayes-PFL as its formulas stand and as medzsad runs it, side by side: `python benchmarks/throughput.py`.

Same weights (random ones of the published sizes, or the embedded model), same images, in turns within one process;
peak memory in a process each. Prints a table: seconds per slice, ratio, share of each stage, peak memory, and the share
of the roofline that is reached: counted operations over the rate at which this machine multiplies large matrices.
With `--method all` all methods are timed beside Bayes-PFL instead (throughput_methods.py).
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click
import open_clip
import torch
from literal import LiteralBayesPFL
from throughput_methods import measure_methods, methods_table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medzsad.clip.spec import TowerSpec
from medzsad.clip.tower import Tower, build_tower
from medzsad.clip.vision import image_features
from medzsad.config import Precision
from medzsad.methods.bayes_pfl.method import METHOD
from medzsad.methods.bayes_pfl.model import BayesPFL
from medzsad.methods.detector import Detector
from medzsad.methods.maps import score_maps
from medzsad.methods.noise import SharedNoise
from medzsad.scoring.device import autocast
from medzsad.weights.card import WeightsCard
from medzsad.weights.load import load_detector

NAME = "brain"
_SAMPLES = 10
_MATRIX = {"cpu": 3072, "cuda": 8192}
STAGES = ("vision", "text", "head", "maps")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one program.

    Attributes:
        program: "literal", or the precision of the product.
        batch: Slices at once.
        seconds: Per slice, median of the rounds.
        ratio: Seconds of the literal program over these.
        stages: Seconds per slice of each stage.
        peak_gb: Largest resident memory of a process of its own; on CUDA the most that was allocated.
        operations: Counted floating point operations per slice; None for the literal program.
        roofline: Share of the machine's matrix rate that they reach.
    """

    program: str
    batch: int
    seconds: float
    ratio: float
    stages: dict[str, float]
    peak_gb: float
    operations: float | None
    roofline: float | None


def make_detector(model: str, device: torch.device) -> Detector:
    """A detector of the published sizes with random weights, or with those of a weights file."""
    if model != "ViT-L-14-336":
        found = load_detector(model, device=device)
        if not isinstance(found.model, BayesPFL):
            raise click.UsageError(f"{model} is not of Bayes-PFL.")
        return found
    torch.manual_seed(0)
    spec = TowerSpec(image_size=518, layers=(6, 12, 18, 24))
    clip = build_tower(open_clip.get_model_config(model), spec).eval().requires_grad_(False)
    prompts = BayesPFL(width=768, vision_width=1024, hidden=512).eval().requires_grad_(False)
    card = WeightsCard(name="random", spec=spec, clip_name=model, class_name=NAME, samples=_SAMPLES)
    return Detector(Tower(clip, spec), prompts, METHOD, card).to(device)


def _draws(detector: Detector, images: int) -> dict[str, Tensor]:
    return SharedNoise(0).draw(images, detector.model.draw_shapes(detector.card.samples), BayesPFL.shared_draws)


def literal_of(detector: Detector) -> LiteralBayesPFL | None:
    """The literal program with the detector's weights; None for the hybrid tower, which no paper describes."""
    if not isinstance(detector.clip.visual, open_clip.transformer.VisionTransformer):
        return None
    return LiteralBayesPFL(detector.clip, detector.model.state_dict(), detector.spec.layers, detector.options.stage)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that some work takes, waiting for the device."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def matrix_rate(device: torch.device, precision: Precision) -> float:
    """Operations per second of a large matrix product, the best of a few."""
    side = _MATRIX[device.type]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = min(seconds_of(lambda: a @ b, device) for _ in range(6))
    return 2 * side**3 / best


def operations(detector: Detector, image: Tensor) -> float:
    """Counted operations of all matrix products for one image."""
    # The counter sees into neither inference mode nor fused attention.
    plain = type(detector).predict.__wrapped__  # type: ignore[attr-defined]
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        plain(detector, image, [NAME], SharedNoise(0))
    return float(counter.get_total_flops())


@torch.inference_mode()
def staged(detector: Detector, images: Tensor, precision: Precision) -> dict[str, float]:
    """Seconds per image of each stage of `Detector.predict`."""
    device, count, prompts = images.device, len(images), detector.model
    found: dict[str, object] = {}
    draws = _draws(detector, count)
    side = detector.spec.image_size

    def vision() -> None:
        found["features"] = image_features(detector.clip, detector.spec, images)

    def text() -> None:
        found["text"] = prompts.text_embeddings(detector.tower, found["features"], [NAME] * count, draws)  # type: ignore[arg-type]

    def head() -> None:
        found["logits"] = prompts.pixel_logits(found["features"], found["text"])  # type: ignore[arg-type]
        prompts.image_logits(found["features"], found["text"], detector.options.stage)  # type: ignore[arg-type]

    def maps() -> None:
        score_maps(found["logits"], found["features"].grid, (side, side), detector.card.samples)  # type: ignore[arg-type, attr-defined]

    with autocast(device, precision):
        return {
            name: seconds_of(part, device) / count
            for name, part in zip(STAGES, (vision, text, head, maps), strict=True)
        }


def score_once(detector: Detector, images: Tensor, program: str) -> None:
    """The images scored by a program: "literal", "float32" or "bfloat16"."""
    if program == "literal":
        literal = literal_of(detector)
        if literal is not None:
            literal.score(images[0], NAME, _draws(detector, 1))
        return
    with autocast(images.device, program):  # type: ignore[arg-type]
        detector.predict(images, [NAME] * len(images), SharedNoise(0))


def peak_gb(model: str, device: str, batch: int, program: str) -> float:
    """The peak memory of a program in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--model",
        model,
        "--device",
        device,
        "--batch",
        str(batch),
        "--alone",
        program,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["peak_gb"])


def _alone(detector: Detector, images: Tensor, program: str) -> float:
    """Peak GB from here on, weights included; where the system cannot forget the peak of building, that counts too."""
    if images.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(images.device)
        score_once(detector, images, program)
        return torch.cuda.max_memory_allocated(images.device) / 1e9
    system = Path("/proc/self")
    if system.is_dir():
        (system / "clear_refs").write_text("5")  # Linux: the peak starts again at what is held now
    score_once(detector, images, program)
    if system.is_dir():
        lines = (system / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(model: str, device: torch.device, batch: int, rounds: int) -> list[Row]:
    """A row for each program, all of them timed in turns."""
    detector = make_detector(model, device)
    side = detector.spec.image_size
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1)).to(device)
    literal = literal_of(detector)
    programs = (["literal"] if literal else []) + ["float32", "bfloat16"]
    times: dict[str, list[float]] = {program: [] for program in programs}
    stages: dict[str, list[dict[str, float]]] = {program: [] for program in programs}
    for number in range(rounds + 1):
        for program in programs:
            one = seconds_of(lambda p=program: score_once(detector, images, p), device)  # type: ignore[misc]
            if number == 0:
                continue  # the first round warms up
            times[program].append(one / (1 if program == "literal" else batch))
            if program != "literal":
                stages[program].append(staged(detector, images, program))  # type: ignore[arg-type]
        if number and literal:
            literal.seconds = dict.fromkeys(STAGES, 0.0)
            noise = _draws(detector, 1)
            literal.score(images[0], NAME, noise)
            stages["literal"].append(literal.seconds)
    counted = operations(detector, images[:1])
    rows = []
    for program in programs:
        seconds = median(times[program])
        rate = matrix_rate(device, program) if program != "literal" else None  # type: ignore[arg-type]
        rows.append(
            Row(
                program=program,
                batch=1 if program == "literal" else batch,
                seconds=seconds,
                ratio=median(times[programs[0]]) / seconds,
                stages={name: median(part[name] for part in stages[program]) for name in STAGES},
                peak_gb=peak_gb(model, str(device), 1 if program == "literal" else batch, program),
                operations=None if rate is None else counted,
                roofline=None if rate is None else counted / seconds / rate,
            )
        )
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = [
        "program",
        "slices at once",
        "s / slice",
        f"ratio to {rows[0].program}",
        *STAGES,
        "peak GB",
        "of the roofline",
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        stages = [f"{row.stages[name]:.3f}" for name in STAGES]
        share = "" if row.roofline is None else f"{row.roofline:.0%}"
        lines.append(
            [
                row.program,
                str(row.batch),
                f"{row.seconds:.3f}",
                f"{row.ratio:.2f}",
                *stages,
                f"{row.peak_gb:.2f}",
                share,
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@click.command()
@click.option("--model", default="ViT-L-14-336", show_default=True, help="This, or weights such as medzsad-mini.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--batch", default=4, show_default=True, help="Slices at once.")
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--method",
    type=click.Choice(["bayes_pfl", "all"]),
    default="bayes_pfl",
    show_default=True,
    help="Bayes-PFL beside its formulas, or all methods beside each other on ViT-L-14-336.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="With --method all; the other table has both.",
)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the numbers here.")
@click.option("--alone", hidden=True)
def main(
    model: str,
    device: str,
    batch: int,
    rounds: int,
    method: str,
    precision: Precision,
    path: Path | None,
    alone: str | None,
) -> None:
    """Prints the table."""
    place = torch.device(device)
    if alone:
        detector = make_detector(model, place)
        side = detector.spec.image_size
        click.echo(json.dumps({"peak_gb": _alone(detector, torch.zeros(batch, 3, side, side, device=place), alone)}))
        return
    threads = torch.get_num_threads()
    what = torch.cuda.get_device_name(place) if place.type == "cuda" else f"{threads} threads"
    found: dict[str, object] = {"model": model, "device": what, "torch": torch.__version__}
    if method == "all":
        if model != "ViT-L-14-336":
            raise click.UsageError("--method all runs on ViT-L-14-336; leave out --model.")
        compared = measure_methods(place, precision, batch, rounds, seconds_of)
        shown = methods_table(compared)
        found |= {"precision": precision, "batch": batch, "rows": [asdict(row) for row in compared]}
    else:
        rows = measure(model, place, batch, rounds)
        shown = table(rows)
        found["rows"] = [asdict(row) for row in rows]
    click.echo(f"{model}, {what}, torch {torch.__version__}\n\n{shown}")
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
