"""The benchmarks that are known by name: assets/benchmarks.yaml."""

import difflib
import re
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medzsad.errors import ConfigError

Reader = Literal[
    "meta", "jsonl", "csv", "mvtec", "sorted", "bmad", "masked", "endo", "isic", "brats", "lits", "msd", "pairs", "any"
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Part):
    """Known numbers of images; None where no source states one.

    Attributes:
        normal: Images without an abnormality.
        abnormal: Images with one.
        total: Both together.
    """

    normal: int | None = None
    abnormal: int | None = None
    total: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _add_up(cls, values: dict[str, int | None]) -> dict[str, int | None]:
        normal, abnormal = values.get("normal"), values.get("abnormal")
        if normal is not None and abnormal is not None and values.get("total") is None:
            return {**values, "total": normal + abnormal}
        return values


class Endings(_Part):
    """Endings of file names, upper and lower case told apart, that folders of an incomplete copy are cut down to.

    Attributes:
        normal: Of images without an abnormality.
        abnormal: Of images with one.
    """

    normal: str
    abnormal: str


class Benchmark(_Part):
    """What is known of one benchmark.

    Attributes:
        name: What the command line calls it.
        title: Its name in the papers.
        content: Organ, modality, abnormality.
        class_name: Word for the organ in prompts.
        kind: Single pictures, volumes with masks, or made on the spot.
        source: Who hands it out.
        address: Where; None if there is none.
        license: As stated by the source, or where to look.
        layout: The accepted layouts in words.
        counts: Known numbers of images.
        pixel_masks: Whether abnormal images have masks.
        image_score: How the papers score an image (METHODS A.6): by classification only, or fused with the map.
        readers: Readers of its layouts, in the order they are tried.
        folders: Names under which its folder goes around; case, spaces and signs do not count.
        inner: Names of class folders inside it.
        subjects: Regular expressions of file stems whose first group is the patient or volume.
        endings: Of an incomplete copy.
        modality: Of volumes whose files do not tell; it decides on the window.
        lesion_values: Labels of volumes that are lesions; None for all above 0.
        note: What else a user should know.
    """

    name: str
    title: str
    content: str
    class_name: str
    kind: Literal["pictures", "volumes", "generated"] = "pictures"
    source: str
    address: str | None = None
    license: str
    layout: str
    counts: Counts
    pixel_masks: bool
    image_score: Literal["classification", "fused"]
    readers: tuple[Reader, ...] = ()
    folders: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    endings: Endings | None = None
    modality: Literal["CT", "MR"] | None = None
    lesion_values: tuple[int, ...] | None = Field(default=None, min_length=1)
    note: str = ""


def plain_name(name: str) -> str:
    """Letters and digits of a name in lower case, by which names of folders are compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def all_benchmarks() -> tuple[Benchmark, ...]:
    """Every benchmark known by name, in the order they are listed."""
    text = files("medzsad").joinpath("assets/benchmarks.yaml").read_text(encoding="utf-8")
    return tuple(Benchmark(name=name, **fields) for name, fields in yaml.safe_load(text).items())


def find_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        ConfigError: There is none; the message names the nearest.
    """
    known = {benchmark.name: benchmark for benchmark in all_benchmarks()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
    raise ConfigError(f"There is no benchmark called {name!r}. {hint} `--benchmark list` explains them.")


def own_names(benchmark: Benchmark) -> frozenset[str]:
    """Plain names under which the folder of a benchmark goes around."""
    return frozenset(map(plain_name, (benchmark.name, *benchmark.folders)))


def names_of_others(benchmark: Benchmark) -> frozenset[str]:
    """Plain names that belong to other benchmarks only."""
    others = frozenset().union(*(own_names(other) for other in all_benchmarks() if other.name != benchmark.name))
    return others - own_names(benchmark)


def list_benchmarks_text() -> str:
    """What `medzsad evaluate --benchmark list` prints: per set its title, source, license, layout and counts."""
    return "\n".join(_described(benchmark) for benchmark in all_benchmarks())


def _described(benchmark: Benchmark) -> str:
    rows = [
        ("get it", benchmark.source + (f", {benchmark.address}" if benchmark.address else "")),
        ("license", benchmark.license),
        ("layout", benchmark.layout),
        ("counts", counts_text(benchmark.counts)),
        ("masks", "yes" if benchmark.pixel_masks else "no, image metrics only"),
        ("prompts", f'"{benchmark.class_name}"' if benchmark.class_name else "the name of each class"),
        ("note", benchmark.note),
    ]
    lines = [f"{benchmark.name}: {benchmark.title}", f"  {benchmark.content}"]
    lines += [f"  {key:<8} {value}" for key, value in rows if value]
    return "\n".join(lines) + "\n"


def counts_text(counts: Counts) -> str:
    """The known numbers in words, "not known" if there are none."""
    if counts.normal is not None and counts.abnormal is not None:
        return f"{counts.normal} normal, {counts.abnormal} abnormal"
    if counts.total is not None:
        return f"{counts.total} images; how many are abnormal is not known here"
    return "not known"
