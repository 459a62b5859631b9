"""Command-line options made from a pydantic model, so that each option is described in one place: the model's field."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


class ConfiguredCommand(click.Command):
    """A command whose options are, beside its own, the fields of pydantic models.

    The models are imported when the options are first needed, so that `medzsad --help` does not wait for pydantic. An
    option that is not given is None, or () where it can be given several times; `given` leaves those out.

    Args:
        models: "module:Class" of each.
        only: The fields that become options; None takes all.
        without: Fields that do not.
    """

    def __init__(
        self,
        *args: Any,
        models: Sequence[str],
        only: Sequence[str] | None = None,
        without: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._models, self._only, self._without = models, only, without
        self._options: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, one option per field of the models, and --help."""
        if self._options is None:
            self._options = list(self._made_options())
        own = super().get_params(ctx)
        help_option = self.get_help_option(ctx)
        return [*(p for p in own if p is not help_option), *self._options, *(p for p in own if p is help_option)]

    def _made_options(self) -> Iterator[click.Option]:
        for module, _, name in (model.partition(":") for model in self._models):
            model: type[BaseModel] = getattr(import_module(module), name)
            for key, field in model.model_fields.items():
                if key not in self._without and (self._only is None or key in self._only):
                    yield option_of(key, field)


def option_of(key: str, field: "FieldInfo") -> click.Option:
    """The option of one field, its default named in the help: a flag and its negative for a bool, else a value."""
    flag = f"--{key.replace('_', '-')}"
    text = (field.description or "").rstrip(".")
    kind = _bare(field.annotation)
    if kind is bool:
        shown = "on" if field.default else "off"
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=f"{text}.  [{shown}]")
    shown = "" if field.is_required() or field.default in (None, ()) else f"  [{_text(field.default)}]"
    repeated = get_origin(kind) is tuple and _bare(get_args(kind)[0]) is not int
    return click.Option([flag], type=_type_of(kind), multiple=repeated, default=None, help=f"{text}.{shown}")


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given on the command line, so that the others keep the value of file or default."""
    return {key: value for key, value in flags.items() if value is not None and value != ()}


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them, as a tuple; click shows the function's name in the help."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} must be whole numbers with commas, such as 1,3.") from None


def _text(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(map(_text, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _type_of(kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is tuple:
        return numbers if _bare(get_args(kind)[0]) is int else str
    if kind is Path:
        return click.Path(path_type=Path)
    return kind if kind in (int, float) else str


def _bare(annotation: Any) -> Any:
    """The annotation without None and pydantic's constraints; of several types the last, so `int | str` is text."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare([part for part in get_args(annotation) if part is not NoneType][-1])
    return annotation
