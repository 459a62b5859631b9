"""Randomness without state: every draw is a function of the seed and of where in the training it happens."""

from hashlib import sha256

import torch


def generator_for(seed: int, *numbers: int) -> torch.Generator:
    """A generator of its own for every sequence (seed, epoch, index, ...).

    A resumed training makes the same generators again, so none has to be saved; the number of workers has no influence.
    The numbers are mixed by SHA-256, so neighbors such as (0, 1) and (1, 0) share nothing.
    """
    digest = sha256(",".join(str(int(number)) for number in (seed, *numbers)).encode("ascii")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
