"""A uniform sample of frames in bounded memory, for k-means on hundreds of millions of frames.

Each frame has a random key from (seed, clip index); the smallest keys are kept, whatever the order of the clips.
"""

import numpy as np


class FrameSample:
    """A sample of at most ``size`` vectors (None: all), in a buffer that is a quarter larger."""

    def __init__(self, size: int | None, seed: int = 0) -> None:
        if size is not None and size < 1:
            raise ValueError(f"--max_vectors {size} came, wanted at least 1, or null for all vectors")
        self.num_seen = 0  # vectors offered so far
        self._all: dict[int, np.ndarray] | None = {} if size is None else None
        self._size, self._seed = size or 0, seed
        self._most = self._size + max(1, self._size // 4)
        self._limit, self._filled = np.inf, 0
        self._vectors_MF = np.empty((0, 0), dtype=np.float32)
        self._key_M = np.empty(0)
        self._place_M2 = np.empty((0, 2), dtype=np.int64)

    def add(self, clip: int, vectors_TF: np.ndarray) -> None:
        """Offer a clip's float32 vectors; ``clip`` is its index in the manifest, each once."""
        self.num_seen += len(vectors_TF)
        if self._all is not None:
            self._all[clip] = vectors_TF
            return
        key_T = np.random.default_rng((self._seed, clip)).random(len(vectors_TF))
        frame_T = np.flatnonzero(key_T < self._limit)
        while len(frame_T):
            if self._filled == len(self._key_M):  # double the buffer up to its limit
                rows = min(self._most, max(2 * self._filled, self._filled + len(frame_T)))
                self._vectors_MF.resize((rows, vectors_TF.shape[1]), refcheck=False)
                self._key_M.resize(rows, refcheck=False)
                self._place_M2.resize((rows, 2), refcheck=False)
            free = slice(self._filled, min(len(self._key_M), self._filled + len(frame_T)))
            taken, frame_T = np.split(frame_T, [free.stop - free.start])
            self._vectors_MF[free], self._key_M[free] = vectors_TF[taken], key_T[taken]
            self._place_M2[free] = np.stack([np.full(len(taken), clip), taken], axis=1)
            self._filled = free.stop
            if self._filled == self._most:
                self._prune()

    def _prune(self) -> None:
        """Keep the ``size`` smallest keys, in place: kept rows beyond ``size`` fill the gaps before it."""
        size = self._size
        if self._filled <= size:
            return
        stays_M = np.zeros(self._filled, dtype=bool)
        stays_M[np.argpartition(self._key_M[: self._filled], size - 1)[:size]] = True
        gaps = np.flatnonzero(~stays_M[:size])
        movers = size + np.flatnonzero(stays_M[size:])
        for rows in (self._vectors_MF, self._key_M, self._place_M2):
            rows[gaps] = rows[movers]
        self._filled = size
        self._limit = self._key_M[:size].max()

    def vectors_MF(self) -> np.ndarray:
        """Return the sample, float32 (M, F), in the order of clips and frames; ValueError: nothing was offered."""
        if not self.num_seen:
            raise ValueError("no clip gave any vector; the failures beside the output say why")
        if self._all is not None:
            return np.concatenate([self._all[clip] for clip in sorted(self._all)])
        self._prune()
        clip_M, frame_M = self._place_M2[: self._filled].T
        return self._vectors_MF[np.lexsort((frame_M, clip_M))]
