"""The methods that medzsad knows by name; each is imported when it is first used.

Other packages add theirs with an entry point of the group "medzsad.methods" whose value is MODULE:NAME of a `Method`.
"""

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from medzsad.errors import ConfigError

if TYPE_CHECKING:
    from medzsad.methods.base import Method

GROUP = "medzsad.methods"
METHODS = {
    "bayes_pfl": "medzsad.methods.bayes_pfl.method:METHOD",
    "cops": "medzsad.methods.cops.method:METHOD",
    "anomalyclip": "medzsad.methods.anomalyclip:METHOD",
    "crane": "medzsad.methods.crane:METHOD",
    "faprompt": "medzsad.methods.faprompt:METHOD",
    "mrad": "medzsad.methods.mrad:METHOD",
    "pilot-style": "medzsad.methods.pilot_style.method:METHOD",
    "human-free-style": "medzsad.methods.human_free_style:METHOD",
}


def method_names() -> tuple[str, ...]:
    """The names of all methods, our own first; none of them is imported."""
    others = sorted(entry.name for entry in entry_points(group=GROUP) if entry.name not in METHODS)
    return (*METHODS, *others)


def find_method(name: str) -> "Method":
    """The method called `name`.

    Raises:
        ConfigError: There is none (the nearest is named), or the package that adds it cannot be imported or does not.
    """
    from medzsad.methods.base import Method

    places = {entry.name: entry.value for entry in entry_points(group=GROUP)} | METHODS
    if name not in places:
        near = difflib.get_close_matches(name, places, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(places)}."
        raise ConfigError(f"There is no method {name!r}. {hint}")
    module, _, attribute = places[name].partition(":")
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise ConfigError(f"{places[name]} could not be imported ({error}); it is registered as {name!r}.") from error
    if not isinstance(found, Method):
        raise ConfigError(f"{places[name]} is not a Method, though it is registered as the method {name!r}.")
    return found
