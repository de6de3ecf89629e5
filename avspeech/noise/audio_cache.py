"""Decoded audio kept in memory: noise is drawn from the same files again and again."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)


class AudioCache:
    """Decoded audio by path, as int16 so that twice as much fits; the longest unused goes first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._audio: OrderedDict[Path, np.ndarray | None] = OrderedDict()

    def get(self, audio: Path | np.ndarray) -> np.ndarray | None:
        """Return float32 samples, or None for a file that cannot be read or has no sound (said once in the log)."""
        if isinstance(audio, np.ndarray):
            return audio if audio.any() else None
        if audio in self._audio:
            self._audio.move_to_end(audio)
            kept = self._audio[audio]
        else:
            kept = self._keep(audio)
        return None if kept is None else kept.astype(np.float32) / np.float32(32768)

    def _keep(self, path: Path) -> np.ndarray | None:
        from avspeech.media.audio import read_audio  # needs PyAV, which babble of arrays does not
        from avspeech.media.errors import MediaError

        kept = None
        try:
            kept = np.clip(np.rint(read_audio(path) * 32768), -32768, 32767).astype(np.int16)
            if not kept.any():
                logger.warning("%s has no sound and is left out of the noise", path)
                kept = None
        except MediaError as error:
            logger.warning("left out of the noise: %s", error)
        self._audio[path] = kept
        self.num_bytes += 0 if kept is None else kept.nbytes
        while self.num_bytes > self.max_bytes and len(self._audio) > 1:
            _, dropped = self._audio.popitem(last=False)
            self.num_bytes -= 0 if dropped is None else dropped.nbytes
        return kept
