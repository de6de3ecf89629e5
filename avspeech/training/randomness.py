"""What a training step draws depends on (seed, step, rank) alone, so that a resumed run draws the same."""

import hashlib

import torch
from torch import Generator


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return a 63-bit number that no other (seed, step, rank) gives, for all that matters."""
    digest = hashlib.sha256(f"{seed},{step},{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def step_generator(seed: int, step: int, rank: int) -> Generator:
    """Return a CPU generator for the draws of one step, and seed torch's own, which dropout uses."""
    torch.manual_seed(step_seed(seed, step, rank) ^ 1)
    return Generator().manual_seed(step_seed(seed, step, rank))
