"""A uniform sample of frames in bounded memory, for k-means on hundreds of millions of frames.

Each frame has a random key from (seed, clip index), and the smallest keys are kept. So the order of the clips, the
number of processes and restarts change nothing.
"""

import numpy as np


class FrameSample:
    """A sample of at most ``size`` vectors (None: all), in a buffer that is a quarter larger."""

    def __init__(self, size: int | None, seed: int = 0) -> None:
        if size is not None and size < 1:
            raise ValueError(f"--max_vectors {size} came, wanted at least 1, or null for all vectors")
        self.size, self.seed = size, seed
        self.num_seen = 0
        """Number of vectors offered so far."""
        self._limit = np.inf
        self._filled = 0
        self._vectors_MF: np.ndarray | None = None
        self._key_M = np.empty(0)
        self._place_M2 = np.empty((0, 2), dtype=np.int64)
        self._whole: dict[int, np.ndarray] = {}

    def add(self, clip: int, vectors_TF: np.ndarray) -> None:
        """Offer a clip's float32 vectors; ``clip`` is its index in the manifest, each once."""
        self.num_seen += len(vectors_TF)
        if self.size is None:
            self._whole[clip] = vectors_TF
            return
        key_T = np.random.default_rng((self.seed, clip)).random(len(vectors_TF))
        frame_T = np.flatnonzero(key_T < self._limit)
        while len(frame_T):
            self._grow(vectors_TF.shape[1], len(frame_T))
            free = slice(self._filled, min(len(self._key_M), self._filled + len(frame_T)))
            taken, frame_T = np.split(frame_T, [free.stop - free.start])
            assert self._vectors_MF is not None
            self._vectors_MF[free], self._key_M[free] = vectors_TF[taken], key_T[taken]
            self._place_M2[free] = np.stack([np.full(len(taken), clip), taken], axis=1)
            self._filled = free.stop
            if self._filled == self.size + self._slack:
                self._prune()

    @property
    def _slack(self) -> int:
        assert self.size is not None
        return max(1, self.size // 4)

    def _grow(self, width: int, more: int) -> None:
        """Double the buffer up to its limit."""
        assert self.size is not None
        if self._vectors_MF is None:
            self._vectors_MF = np.empty((0, width), dtype=np.float32)
        if self._filled < len(self._key_M):
            return
        rows = min(self.size + self._slack, max(2 * self._filled, self._filled + more))
        self._vectors_MF.resize((rows, width), refcheck=False)
        self._key_M.resize(rows, refcheck=False)
        self._place_M2.resize((rows, 2), refcheck=False)

    def _prune(self) -> None:
        """Keep the ``size`` smallest keys, in place: kept rows beyond ``size`` fill the gaps before it."""
        assert self.size is not None and self._vectors_MF is not None
        if self._filled <= self.size:
            return
        stays_M = np.zeros(self._filled, dtype=bool)
        stays_M[np.argpartition(self._key_M[: self._filled], self.size - 1)[: self.size]] = True
        gaps = np.flatnonzero(~stays_M[: self.size])
        movers = self.size + np.flatnonzero(stays_M[self.size :])
        for rows in (self._vectors_MF, self._key_M, self._place_M2):
            rows[gaps] = rows[movers]
        self._filled = self.size
        self._limit = self._key_M[: self.size].max()

    def vectors_MF(self) -> np.ndarray:
        """Return the sample, float32 (M, F), in the order of clips and frames.

        Raises ValueError if nothing was offered.
        """
        if not self.num_seen:
            raise ValueError("no clip gave any vector; the failures beside the output say why")
        if self.size is None:
            return np.concatenate([self._whole[clip] for clip in sorted(self._whole)])
        self._prune()
        assert self._vectors_MF is not None
        clip_M, frame_M = self._place_M2[: self._filled].T
        return self._vectors_MF[np.lexsort((frame_M, clip_M))]
