"""The phantom results of the output tests, drawn."""

from tests.output.conftest import make_result, phantom

__all__ = ["make_result", "phantom"]
