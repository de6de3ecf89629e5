"""Silero's voice activity detector (version 6, 16 kHz) as the package ``silero-vad`` ships it (MIT), model included.

It sees 36 ms of sound at a time and remembers what came before; one call for every 32 ms.
"""

import warnings
from collections.abc import Iterable
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from avspeech.timebase import SAMPLE_RATE

CHUNK = 512
"""Samples at 16 kHz for which there is one probability: 32 ms."""


class VoiceDetectorError(ValueError):
    """The package with the detector is not installed, or is another one."""


class SileroVAD:
    """Sound in chunks -> the probability that somebody speaks, for each chunk.

    Args:
        model: the package's.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = Lock()  # it remembers what it heard: two threads would hear each other's files

    @torch.inference_mode()
    def __call__(self, blocks: Iterable[Tensor]) -> Tensor:
        """Return one probability per chunk, float32; of the sound no more than one block is in memory.

        Args:
            blocks: the sound in its order, float32 at 16 kHz, each block a whole number of chunks.
        """
        with self._lock:
            self._model.reset_states()
            heard = [
                self._model(chunk_S, SAMPLE_RATE).reshape(1) for block_S in blocks for chunk_S in block_S.split(CHUNK)
            ]
        return torch.cat(heard) if heard else torch.zeros(0)


@cache
def load_silero() -> SileroVAD:
    """Return the detector, loaded once; it keeps nothing between calls.

    Raises:
        VoiceDetectorError: the package is missing, or its model cannot be loaded.
    """
    num_threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.load. is (deprecated|not supported)")
            warnings.filterwarnings("ignore", message="path is deprecated")
            from silero_vad import load_silero_vad

            return SileroVAD(load_silero_vad())
    except ImportError as error:
        raise VoiceDetectorError(
            "finding speech needs the package silero-vad: `uv sync`, or `pip install silero-vad`"
        ) from error
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise VoiceDetectorError(f"Silero's detector cannot be loaded ({why}): `uv sync` installs it anew") from error
    finally:
        torch.set_num_threads(num_threads)  # importing the package sets one, for everybody
