"""Heavy imports without the garbage collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Imports in the block are not interrupted by the garbage collector, and it passes over what they made.

    Torch and the packages around it make some 400,000 objects that live until the program ends. The collector goes
    through them again and again while they are imported and once more at the end, which takes a third of the time
    from the start of `medzsad run` to the end of a small scan (benchmarks/startup.py). Does nothing where torch is
    there already, in a program that calls the command line from Python, say.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
