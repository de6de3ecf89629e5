"""Training in tests runs torch's own convolutions."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def native_convolutions() -> Iterator[None]:
    """Turn oneDNN off.

    Its backward pass of channels-last convolutions with few channels corrupts the heap on CPUs without AVX-512 (torch
    2.15, seen with 4 channels), and a later test of the same process crashes.
    """
    with torch.backends.mkldnn.flags(enabled=False):
        yield
