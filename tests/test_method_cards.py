"""Every method has a card in docs/methods, all of one form, with the published figures that `evaluate` knows."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

import pytest

from medzsad.evaluation.published import PublishedMetric, PublishedValue, all_published_values
from medzsad.methods.registry import METHODS, find_method
from medzsad.weights.manifest import list_releases

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "docs" / "methods"
OWN = list(METHODS)
HEADINGS = [
    "Idea", "Formulas", "What imported weights depend on", "Published figures", "Our proof", "Use", "Limits",
]  # fmt: skip
_SHORT = {
    "image_auroc": "I-AUROC", "image_ap": "I-AP", "image_f1max": "I-F1", "pixel_auroc": "P-AUROC", "pixel_ap": "P-AP",
    "pixel_f1max": "P-F1", "aupro": "AUPRO",
}  # fmt: skip


# Under which name the figures of a method are published, where that is the name of all of its variants.
_PUBLISHED_AS = {"MRAD-TF": "MRAD"}


def _text(name: str) -> str:
    return (CARDS / f"{name}.md").read_text(encoding="utf-8")


def _section(name: str, heading: str) -> str:
    return re.split(r"^## ", _text(name), flags=re.MULTILINE)[1 + HEADINGS.index(heading)]


def published_rows(title: str) -> list[str]:
    """The lines of a card's table: one for each set, source and version of the method ("Crane" and "Crane+")."""
    values = [one for one in all_published_values() if one.method.rstrip("+") == _PUBLISHED_AS.get(title, title)]

    def of(value: PublishedValue) -> tuple[str, str, str, str]:
        return value.benchmark, value.method, value.source, value.trained_on

    found = []
    for (benchmark, method, source, trained_on), group in groupby(sorted(values, key=of), key=of):
        metrics = _metrics(list(group))
        found.append(f"| {benchmark} | {method} | {metrics} | {trained_on or 'not stated'} | {source} |")
    return found


def _metrics(values: Sequence[PublishedValue]) -> str:
    order = get_args(PublishedMetric)
    return ", ".join(
        f"{_SHORT[one.metric]} {one.value:g}" for one in sorted(values, key=lambda one: order.index(one.metric))
    )


@pytest.mark.parametrize("name", OWN)
def test_a_card_has_the_headings_of_the_template(name: str) -> None:
    text = _text(name)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert text.startswith(f"# {find_method(name).title}\n")


@pytest.mark.parametrize("name", OWN)
def test_a_card_says_what_the_program_says(name: str) -> None:
    method, text = find_method(name), _text(name)
    arxiv = re.search(r"\d{4}\.\d{5}", method.source)
    assert arxiv is not None
    assert arxiv.group() in text
    assert method.code_license or method.fidelity == "reconstruction"
    assert f"License of the authors' program: {method.code_license or 'none is published'}" in " ".join(text.split())
    assert {release.name for release in list_releases() if release.method == name} <= set(
        re.findall(r"`([\w-]+)`", text)
    )


@pytest.mark.parametrize("name", OWN)
def test_the_published_figures_of_a_card_are_those_that_evaluate_compares_with(name: str) -> None:
    lines = [line for line in _section(name, "Published figures").splitlines() if line.startswith("| ")][1:]
    rows = published_rows(find_method(name).title)
    assert lines == (["| --- | --- | --- | --- | --- |", *rows] if rows else [])


def test_the_index_names_every_card() -> None:
    index = (CARDS / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == set(OWN)
    assert {path.stem for path in CARDS.glob("*.md")} == {"README", *OWN}
