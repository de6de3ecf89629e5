"""What a training step draws depends on (seed, number of the batch) alone, so that a resumed run draws the same.

Batches are numbered over all processes: process r of W has numbers r, r + W, ... So two processes draw what one process
draws that accumulates gradients over the same batches.
"""

import hashlib

import torch
from torch import Generator


def step_seed(seed: int, number: int) -> int:
    """Return a 63-bit number that no other (seed, number of the batch) gives, for all that matters."""
    digest = hashlib.sha256(f"{seed},{number},0".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def step_generator(seed: int, number: int) -> Generator:
    """Return a CPU generator for the draws of one batch, and seed torch's own, which dropout uses."""
    torch.manual_seed(step_seed(seed, number) ^ 1)
    return Generator().manual_seed(step_seed(seed, number))
