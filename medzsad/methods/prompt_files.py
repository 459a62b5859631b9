"""Authors' files of the shape {"prompt_learner": state dict}, translated with every key accounted for."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.clip.text import token_ids
from medzsad.errors import WeightsError
from medzsad.methods.base import Translation
from medzsad.methods.prompts import ABNORMAL_WORDS, NORMAL_WORDS, table_ids
from medzsad.methods.renaming import Renames, accounted_for, needed, renamed, tensors_under

_WORDS = {"pos": NORMAL_WORDS, "neg": ABNORMAL_WORDS}
_RENAMES: Renames = (
    (r"ctx_pos", "normal"),
    (r"ctx_neg", "abnormal"),
    (r"compound_prompts_text\.(\d+)", r"deep.\1"),
)
Sizes = Callable[[Mapping[str, Tensor]], dict[str, int]]


class PromptFileImporter:
    """Reads a prompt learner with fixed words (METHODS D.0).

    Args:
        title: Of the method.
        marks: Beginnings of keys that its files have, beside `ctx_` and `token_`.
        foreign: Beginnings of keys that tell files of other methods.
        sizes: Those of the method's model that are its own, from the tensors under our names.
        axes: Numbers of axes of the tensors that sizes are read from, by our names; theirs may have more of length 1.
        renames: Further tables of names.
        unused: Pattern of keys that no score depends on.
    """

    def __init__(
        self,
        *,
        title: str,
        sizes: Sizes,
        marks: Sequence[str] = (),
        foreign: Sequence[str] = (),
        axes: Mapping[str, int] | None = None,
        renames: Renames = (),
        unused: str = "",
    ) -> None:
        self._title, self._sizes, self._renames = title, sizes, (*_RENAMES, *renames)
        self._axes = {"normal": 2, "abnormal": 2, **(axes or {})}
        self._marks, self._foreign, self._unused = ("ctx_", "token_prefix_", *marks), tuple(foreign), re.compile(unused)

    def our_name(self, key: str) -> str | None:
        """Our name of one of the authors' tensors; None if there is none."""
        return renamed(key, self._renames)

    def recognizes(self, content: object) -> bool:
        """Whether there is a prompt learner with this method's keys and no other's."""
        learner = content.get("prompt_learner") if isinstance(content, Mapping) else None
        if not isinstance(learner, Mapping):
            return False
        keys = [str(key) for key in learner]
        return all(any(key.startswith(mark) for key in keys) for mark in self._marks) and not any(
            key.startswith(self._foreign) for key in keys
        )

    def translate(self, content: Any, path: Path) -> Translation:
        """Their state dict under our names."""
        return self.translate_state(tensors_under(content, "prompt_learner", self._title, path))

    def translate_state(self, official: Mapping[str, Tensor]) -> Translation:
        """The authors' state dict under our names.

        Raises:
            WeightsError: A key is unknown or missing, or token embeddings and token numbers contradict each other.
        """
        tables = {key: value for key, value in official.items() if key.startswith("token")}
        learned = {key: value for key, value in official.items() if key not in tables}
        state, ignored = accounted_for(learned, self._renames, self._unused.fullmatch, self._title)
        for name, axes in self._axes.items():
            while name in state and state[name].ndim > axes and len(state[name]) == 1:
                state[name] = state[name][0]
        deep = sorted(name for name in state if name.startswith("deep."))
        needed(state, {**self._axes, **dict.fromkeys(deep, 2)}, self._title)
        state["token_rows"] = _table_rows(tables, _learned(state), self._title)
        sizes = {
            **self._sizes(state),
            "deep_prompts": len(deep),
            "deep_tokens": len(state[deep[0]]) if deep else 1,
            "table_rows": len(state["token_rows"]),
        }
        return Translation(sizes, state, {}, tuple(tables), ignored)


def _learned(state: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Number of prompts and of learned tokens in each; several abnormal ones begin with those of the normal one."""
    normal, abnormal = state["normal"], state["abnormal"]
    several = (len(abnormal), len(normal) + abnormal.shape[1])
    return {"pos": (1, len(normal)), "neg": several if abnormal.ndim == 3 else (1, len(abnormal))}


def _table_rows(tables: Mapping[str, Tensor], learned: Mapping[str, tuple[int, int]], title: str) -> Tensor:
    """The rows (6, C) of the token table that the buffers hold over and over, by rising number of the token."""
    names = {f"{part}_{kind}" for kind in _WORDS for part in ("token_prefix", "token_suffix", "tokenized_prompts")}
    if wrong := sorted(names.symmetric_difference(tables)):
        raise WeightsError(f"Not weights of {title}: {wrong[0]} is {'unknown' if wrong[0] in tables else 'missing'}.")
    rows: dict[int, Tensor] = {}
    for kind, words in _WORDS.items():
        parts = [tables[f"{part}_{kind}"] for part in ("token_prefix", "token_suffix")]
        numbers = tables[f"tokenized_prompts_{kind}"]
        if numbers.ndim != 3 or any(part.ndim != 4 or part.shape[:2] != numbers.shape[:2] for part in parts):
            raise WeightsError(f"Not weights of {title}: its token buffers ({kind}) contradict each other in shape.")
        given = (numbers.shape[1], numbers.shape[2] - parts[1].shape[2] - 1)
        if given != learned[kind]:
            raise WeightsError(
                f"Not weights of {title}: {learned[kind]} prompts and learned tokens in ctx_{kind} contradict the "
                f"token buffers, which are for {given}."
            )
        fixed = _fixed_numbers(numbers.flatten(0, 1), parts[1].shape[2], words, title)
        embeds = torch.cat(parts, dim=2).flatten(0, 1).float()
        if embeds.shape[1] != len(fixed):
            raise WeightsError(f"Not weights of {title}: token_prefix_{kind} has {parts[0].shape[2]} rows, not 1.")
        for prompt in embeds:
            for number, row in zip(fixed, prompt, strict=True):
                if not torch.equal(rows.setdefault(number, row), row):
                    raise WeightsError(f"Not weights of {title}: two embeddings of the token {number} differ.")
    return torch.stack([rows[number] for number in table_ids().tolist()])


def _fixed_numbers(numbers: Tensor, behind: int, words: str, title: str) -> list[int]:
    """The start token's number and the `behind` numbers after the learned tokens.

    Args:
        numbers: (K, L) of K prompts, learned tokens standing for letters.
        behind: Rows of the suffix.
        words: Between learned tokens and end token; padding follows.
        title: For messages.
    """
    start, *rest = token_ids(words).tolist()
    expected = [start, *rest, *[0] * (behind - len(rest))]
    for prompt in numbers.tolist():
        if [prompt[0], *prompt[len(prompt) - behind :]] != expected:
            raise WeightsError(
                f"Weights of {title} with other words: the numbers of their tokens are not those of {words!r} behind "
                f"{len(prompt) - behind - 1} learned ones. Only the published prompts can be read."
            )
    return expected
