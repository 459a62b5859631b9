"""Words for generated images: class names, states and captions, from a small grammar."""

from dataclasses import dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from medzsad.generator.images import FAMILIES
from medzsad.generator.lesions import KINDS

NAMES = (
    "brain", "head ct", "brain ct", "head", "liver", "retina", "colon", "skin", "thyroid", "chest", "lung", "kidney",
    "breast", "prostate", "bone", "spine", "heart", "tissue", "body", "abdomen", "organ", "scan", "slice", "image",
    "object", "surface", "part", "texture", "material", "ball screw", "printed circuit board", "road", "cookie",
)  # fmt: skip
NORMAL_STATES = ("flawless", "normal", "intact", "healthy", "perfect")
ABNORMAL_STATES = ("damaged", "abnormal", "defective", "diseased", "anomalous")
_BODIES = {
    "head": ("round body with a rim", "folded body"),
    "body": ("smooth body", "body with organs"),
    "surface": ("texture", "surface"),
    "layers": ("layers", "stack of layers"),
    "object": ("object", "part"),
    "scan": ("head with a rim", "slice of a head"),
    "ultrasound": ("sound image", "layers with speckle"),
    "tomogram": ("layers with speckle", "stack of thin layers"),
    "endoscopy": ("wet surface", "surface with folds"),
    "skin": ("surface", "skin"),
    "fundus": ("disc with vessels", "retina"),
}
_FINDINGS = {
    "bright": "bright lesion", "dark": "dark lesion", "replaced": "foreign mass", "texture": "rough lesion",
    "displaced": "displaced tissue", "ring": "ring lesion", "noise": "noisy lesion", "edema": "lesion with a soft halo",
    "diffuse": "diffuse lesion",
}  # fmt: skip


def _phrases() -> list[str]:
    bodies = [body for pair in _BODIES.values() for body in pair]
    return [
        *NAMES,
        *NORMAL_STATES,
        *ABNORMAL_STATES,
        *bodies,
        *_FINDINGS.values(),
        "a",
        "of the",
        "with",
        "without",
        "X",
    ]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that the training uses, numbered without gaps.

    Attributes:
        ids: (V,) int64 token numbers in CLIP's vocabulary, rising; start and end of text included.
    """

    ids: Tensor
    tokenizer: SimpleTokenizer

    def compact(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """(n, L) rows of `ids` for each text, padded with 0, and (n,) the position of its end token.

        Raises:
            ValueError: A word is not among those of the training.
        """
        lines = [
            [self.tokenizer.sot_token_id, *self.tokenizer.encode(text), self.tokenizer.eot_token_id] for text in texts
        ]
        longest = max(len(line) for line in lines)
        rows = torch.zeros(len(lines), longest, dtype=torch.int64)
        for index, line in enumerate(lines):
            tokens = torch.tensor(line)
            found = torch.searchsorted(self.ids, tokens).clamp(max=len(self.ids) - 1)
            if not torch.equal(self.ids[found], tokens):
                raise ValueError(f"The text {texts[index]!r} has words that are not in the training's vocabulary.")
            rows[index, : len(line)] = found
        return rows, torch.tensor([len(line) - 1 for line in lines])


def vocabulary() -> Vocabulary:
    """The vocabulary of all class names, states and captions."""
    tokenizer = SimpleTokenizer()
    used = {tokenizer.sot_token_id, tokenizer.eot_token_id}
    for phrase in _phrases():
        used.update(tokenizer.encode(phrase))
    return Vocabulary(torch.tensor(sorted(used)), tokenizer)


def pick(words: tuple[str, ...], source: torch.Generator) -> str:
    """One of the words."""
    return words[int(torch.randint(len(words), (1,), generator=source))]


def caption(name: str, family: int, kind: int, source: torch.Generator) -> str:
    """A caption of a generated image; `family` indexes FAMILIES, `kind` indexes KINDS, negative for no lesion."""
    body = pick(_BODIES[FAMILIES[family]], source)
    if kind < 0:
        return f"a {pick(NORMAL_STATES, source)} {name} {body} without lesion"
    return f"a {pick(ABNORMAL_STATES, source)} {name} {body} with a {_FINDINGS[KINDS[kind]]}"
