"""Look for faces of any size in a picture, and look at known ones on an enlarged crop of each.

The landmark model finds faces that are at least a quarter of the picture's height. It therefore runs on the whole
picture and on square tiles of several sizes, down to four heights of the smallest face. A search is a small part of all
looks, and most tiles of a search are those whose content has changed. A face found on a tile counts once it is found
again on its own enlarged crop. Where nothing is upright, the picture is also searched turned by quarters: a file may
have lost its rotation flag.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import MOUTH_SIZE, STABLE
from avspeech.roi.track import box_of, overlap, rescaled

SMALLEST = 24  # pixels from top to bottom of the landmark mesh
TILE = 4 * SMALLEST  # side of the smallest tile; the next size is twice as large
STEP = 2 / 3  # distance of neighbouring tiles, in sides
SHOWN = 250  # pixels of height to which a known face is scaled, 550 px for its crop; the network takes 256 px of it
ENOUGH = 110  # pixels of height from which a face is not enlarged
MAX_SIDE = 2048  # most pixels of a side that the model is shown
TILE_SIDE = 192  # pixels to which a tile is scaled; the model's detector takes 128
AROUND = 2.2  # side of a face's crop, in heights of the face
CONFIRMING = (AROUND, 1.5, 3.6)  # crops that must show a new face, in its heights
CONFIRMING_LARGE = (2.8, 3.6)  # the same of a large one, beyond the picture with its edge continued
CONFIRMED = 0.6  # least overlap of a new face's boxes on these
STEADY = 0.025  # most that a large face's landmarks differ on these, in its heights: 0.005 seen, 0.05 if upside down
FRAMED = 0.92  # least overlap of a face's box with that in a framed picture: 0.97 in faces, at most 0.87 in mouth crops
LOST_AROUND = 4.4  # the same where the face was not found on the smaller crop
COARSE = 8  # a picture's pixels per pixel of the thumbnail in which changes are seen
CHANGED = 8  # grey levels of a thumbnail's pixel that count as a change
MOSTLY = 0.8  # share of the tiles that change at a cut
FLAT = 4  # smallest range of grey levels in a tile that may show a face
WIDE = 0.3  # share of the picture in a crop, above which the whole picture is looked at instead
SEEK_EVERY = 24  # frames between two searches while every known face is found
FEW_TILES, MANY_TILES = 2, 64  # tiles of such a search: beside a large face, and beside small ones
FEWEST_TILES = 8  # of a search while nothing is found, which begins with all tiles and then halves from ``MANY_TILES``
TURN_AT_LEAST = 94  # fruitless searches between two that also turn the picture; the first come at 1, 2, 4, 8, ...
LARGE = 1 / 6  # a face's share of the picture's height
FORGET = 50  # frames after which a lost face is looked for no longer at its place
INSIDE = 0.8  # share of a box that lies inside another one, for both to be of one face
MAX_FACES = 20  # faces of a frame that are followed; the largest
TURNED_TILE = 8 * SMALLEST  # smallest tile that is searched turned


class Seeker:
    """The faces of one video, looked at frame by frame."""

    def __init__(self, finder: FaceFinder) -> None:
        self.finder = finder
        self.crowded = False
        """True once there were more than ``MAX_FACES``."""
        self._tiles: _Tiles | None = None
        self._lost: list[tuple[int, np.ndarray]] = []
        self._sought = -SEEK_EVERY
        self._fruitless = 0  # searches since a face was last known
        self._whole = False  # a known face's crop was the whole picture, so that it needs no search

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the last picture that was searched."""
        return (0, 0) if self._tiles is None else self._tiles.size

    def look(self, picture: Picture, known: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the landmarks of the known faces (their landmarks in other frames) as they are in this frame."""
        return self._real(picture, self._look_at(picture, _distinct(known))[0])

    def look_and_seek(self, picture: Picture, known: Sequence[np.ndarray], index: int) -> list[np.ndarray]:
        """Return the landmarks of every face, also of new ones if a search is due; ``index`` is the frame's.

        Where the picture has another size than the last one searched, the known faces are those of that one.
        """
        if self._tiles is None or self._tiles.size != picture.size:
            if self._tiles is not None:
                sizes = self._tiles.size, picture.size
                known = [rescaled(face_J2, *sizes) for face_J2 in known]
                self._lost = [(since, rescaled(face_J2, *sizes)) for since, face_J2 in self._lost]
            self._tiles = _Tiles(picture.size)
        self._lost = [(since, face) for since, face in self._lost if index - since <= FORGET]
        sought = [*known, *(face for _, face in self._lost)]
        self._whole = False
        faces, missed, others = self._look_at(picture, _distinct(sought))
        self._add(picture, others, faces)
        still = {id(face): since for since, face in self._lost}
        self._lost = [(still.get(id(face), index), face) for face in missed]
        lost_now = any(since == index for since, _ in self._lost)
        if not self._whole or not faces:  # large faces cost little to search for
            self._search(picture, self._tiles.whole, faces)
        if not faces or lost_now or index - self._sought >= SEEK_EVERY:
            self._sought = index
            faces = self._seek(picture, faces)
        if len(faces) > MAX_FACES:
            self.crowded = True
            faces = sorted(faces, key=_height, reverse=True)[:MAX_FACES]
        return self._real(picture, faces)

    def _real(self, picture: Picture, faces: list[np.ndarray]) -> list[np.ndarray]:
        """Return the faces; in a picture as small as a mouth crop, those that a frame around it leaves in place.

        In a mouth crop the network sees a face of nostrils and lips, a different one with each frame.
        """
        width, height = picture.size
        if max(width, height) > MOUTH_SIZE or not faces:
            return faces
        shown = picture.part((0, 0, width, height), (2 * width, 2 * height))
        for kind, grey in ((cv2.BORDER_CONSTANT, 0), (cv2.BORDER_CONSTANT, 128), (cv2.BORDER_REPLICATE, 0)):
            framed = cv2.copyMakeBorder(shown, height, height, width, width, kind, value=(grey,) * 3)
            found = [(face_J2 - (width, height)) / 2 for face_J2 in self.finder.detect(framed)]
            faces = [one for one in faces if any(_overlap(one, other) >= FRAMED for other in found)]
        return faces

    def _look_at(self, picture: Picture, known: Sequence[np.ndarray]) -> tuple[list, list, list]:
        """Return the faces at the places of known ones, the known ones that were not found, and others seen."""
        faces, missed, seen = [], [], []
        for old_J2 in sorted(known, key=_height, reverse=True):
            face_J2, size = None, _height(old_J2)
            for around in (AROUND, LOST_AROUND):
                box = _wide(_around(old_J2, around), picture.size)
                self._whole |= bool((box[2:] - box[:2] == picture.size).all())
                found = self._detect(picture, box, _scale_for(size), _turn_of(old_J2))
                seen += found
                near = [one_J2 for one_J2 in found if 0.5 < _height(one_J2) / size < 2 and not _any(one_J2, faces)]
                face_J2 = min(near, key=lambda one_J2: _apart(one_J2, old_J2), default=None)
                if face_J2 is not None and _apart(face_J2, old_J2) < size:
                    faces.append(face_J2)
                    break
            else:
                missed.append(old_J2)
        return faces, missed, [face_J2 for face_J2 in seen if not _any(face_J2, faces)]

    def _detect(
        self,
        picture: Picture,
        box: np.ndarray,
        scale: float,
        turn: int = 0,
        hidden: Sequence[np.ndarray] = (),
        beyond: bool = False,
    ) -> list[np.ndarray]:
        """Return the landmarks that the model finds in a scaled part of the picture, turned by quarters.

        ``beyond``: what of the box lies outside the picture is shown too, as its edge continued.
        """
        if not beyond:
            box = np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], picture.size)])
        left, top, right, bottom = (*np.floor(box[:2]).astype(int).tolist(), *np.ceil(box[2:]).astype(int).tolist())
        if right - left < 8 or bottom - top < 8:
            return []
        scale = min(scale, MAX_SIDE / max(right - left, bottom - top))
        if scale < 1:  # averaging over whole pixels is several times faster
            scale = 1 / round(1 / scale)
            right, bottom = (end - (end - start) % round(1 / scale) for start, end in ((left, right), (top, bottom)))
        size = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
        shown = picture.part((left, top, right, bottom), size)
        scale_2 = np.array(size) / (right - left, bottom - top)
        for face_J2 in hidden:  # known faces cost the network's time and would be found twice
            x0, y0, x1, y1 = ((box_of(face_J2).reshape(2, 2) - (left, top)) * scale_2).ravel().astype(int)
            shown[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 128
        found = self.finder.detect(np.rot90(shown, turn) if turn else shown)
        return [(_unturned(face_J2, turn, size) / scale_2 + (left, top)).astype(np.float32) for face_J2 in found]

    def _seek(self, picture: Picture, faces: list[np.ndarray]) -> list[np.ndarray]:
        """Return the known faces and those that the whole picture and tiles show."""
        assert self._tiles is not None
        tiles, faces = self._tiles, list(faces)
        first, known = tiles.clock == 0, bool(faces)
        tiles.compare(picture)
        if known:
            small = min(map(_height, faces)) < LARGE * picture.size[1]
            for box in tiles.due(MANY_TILES if small else FEW_TILES, only_changed=False):
                self._search(picture, box, faces)
            return faces
        self._fruitless = 1 if tiles.is_cut else self._fruitless + 1
        if first:
            self._seek_everywhere(picture, tiles, faces)
        else:
            for box in tiles.due(max(2 * MANY_TILES >> self._fruitless, FEWEST_TILES), only_changed=True):
                self._search(picture, box, faces)
        if not faces and (self._fruitless & (self._fruitless - 1) == 0 or self._fruitless % TURN_AT_LEAST == 0):
            self._seek_turned(picture, tiles, faces)
        if faces:
            self._fruitless = 0
        return faces

    def _seek_everywhere(self, picture: Picture, tiles: "_Tiles", faces: list[np.ndarray]) -> None:
        """Add the faces of all tiles, from coarse to fine, to one level below the first that shows any."""
        found_at = len(tiles.levels)
        for level in range(len(tiles.levels)):
            if level > found_at + 1:
                break
            for box in tiles.changed(level):
                self._search(picture, box, faces)
            if faces:
                found_at = min(found_at, level)

    def _seek_turned(self, picture: Picture, tiles: "_Tiles", faces: list[np.ndarray]) -> None:
        """Add faces that are upside down or on their side, from the first level and turn that shows any."""
        for turn in (2, 1, 3):
            for level in range(-1, len(tiles.levels)):
                if level >= 0 and tiles.levels[level] < TURNED_TILE:
                    break
                for box in tiles.of(level):
                    self._search(picture, box, faces, turn)
                if faces:
                    return

    def _search(self, picture: Picture, box: np.ndarray, faces: list[np.ndarray], turn: int = 0) -> None:
        """Add the new faces of one part of the picture."""
        if len(faces) <= MAX_FACES:
            scale = TILE_SIDE / max(box[2:] - box[:2])
            self._add(picture, self._detect(picture, box, scale, turn, faces), faces)

    def _add(self, picture: Picture, found: Sequence[np.ndarray], faces: list[np.ndarray]) -> None:
        """Add those that are new and found again on crops of their own."""
        for face_J2 in found:
            if _height(face_J2) < 0.75 * SMALLEST or _any(face_J2, faces):
                continue
            if (sure_J2 := self._confirmed(picture, face_J2)) is not None and not _any(sure_J2, faces):
                faces.append(sure_J2)

    def _confirmed(self, picture: Picture, face_J2: np.ndarray) -> np.ndarray | None:
        """Return the landmarks on the face's own crop if crops of other sizes show the same; clutter does not."""
        turn, sure_J2, before_J2 = _turn_of(face_J2), None, face_J2
        large = _height(face_J2) > max(LARGE * picture.size[1], MOUTH_SIZE)
        for around in CONFIRMING_LARGE if large else CONFIRMING:
            crop = _around(face_J2, around), _scale_for(_height(face_J2)), turn
            found = self._detect(picture, *crop, beyond=large)
            face_J2 = max(found, key=lambda one_J2: _overlap(one_J2, face_J2), default=face_J2)
            if not found or _overlap(face_J2, before_J2) < CONFIRMED:
                return None
            before_J2 = face_J2
            sure_J2 = face_J2 if sure_J2 is None else sure_J2
        assert sure_J2 is not None
        unsteady = float(np.hypot(*(face_J2 - sure_J2).T).mean()) / _height(sure_J2)
        return None if large and unsteady > STEADY else sure_J2


class _Tiles:
    """Square parts of a picture in several sizes, and which of them have changed since they were searched."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.whole = np.array([0, 0, *size])
        width, height = size
        self.levels: list[int] = []
        side = TILE
        while side < 0.75 * max(width, height) and side < 1.5 * min(width, height):
            self.levels.insert(0, side)
            side *= 2
        boxes = [(n, *box) for n, side in enumerate(self.levels) for box in _grid(width, height, side)]
        rows_N5 = np.array(boxes, int).reshape(-1, 5)
        self._level_N, self._boxes_N4 = rows_N5[:, 0], rows_N5[:, 1:]
        self._changed_N = np.ones(len(boxes), bool)
        self._searched_N = np.zeros(len(boxes), int)
        self.clock = 0
        """Number of searches so far."""
        self.is_cut = self._moving = False
        self._before: np.ndarray | None = None

    def compare(self, picture: Picture) -> None:
        """Note the tiles that differ from the last picture compared; one without contrast shows no face."""
        size = (max(self.size[0] // COARSE, 1), max(self.size[1] // COARSE, 1))
        box = (0, 0, min(size[0] * COARSE, self.size[0]), min(size[1] * COARSE, self.size[1]))
        now_HW = picture.grey(box, lambda grey_HW: cv2.resize(grey_HW, size, interpolation=cv2.INTER_AREA))
        if self._before is not None:
            changed_N = self._any(cv2.absdiff(now_HW, self._before) >= CHANGED)
            was_moving, self._moving = self._moving, changed_N.sum() > MOSTLY * max(len(changed_N), 1)
            self.is_cut = self._moving and not was_moving
            if self.is_cut:
                self._searched_N[:] = 0  # coarse tiles first
            self._changed_N |= changed_N
        kernel = np.ones((3, 3), np.uint8)
        self._flat_N = ~self._any(cv2.dilate(now_HW, kernel) - cv2.erode(now_HW, kernel) >= FLAT)
        self._before = now_HW

    def _any(self, mask_HW: np.ndarray) -> np.ndarray:
        sums = cv2.integral(mask_HW.astype(np.uint8))
        height, width = mask_HW.shape
        left, top = self._boxes_N4[:, 0] // COARSE, self._boxes_N4[:, 1] // COARSE
        right = np.minimum(-(-self._boxes_N4[:, 2] // COARSE), width)
        bottom = np.minimum(-(-self._boxes_N4[:, 3] // COARSE), height)
        return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0

    def due(self, number: int, only_changed: bool) -> list[np.ndarray]:
        """Return the next tiles to search: the changed ones first, then those that were searched longest ago."""
        order = np.lexsort((self._searched_N, ~self._changed_N, self._flat_N))[:number]
        wanted = [n for n in order if not self._flat_N[n] and (self._changed_N[n] or not only_changed)]
        return self._take(np.array(wanted, int))

    def changed(self, level: int) -> list[np.ndarray]:
        """Return the tiles of a level that have changed since they were searched."""
        return self._take(np.flatnonzero((self._level_N == level) & self._changed_N & ~self._flat_N))

    def of(self, level: int) -> list[np.ndarray]:
        """Return the tiles of a level, of -1 the whole picture."""
        return [self.whole] if level < 0 else list(self._boxes_N4[(self._level_N == level) & ~self._flat_N])

    def _take(self, wanted: np.ndarray) -> list[np.ndarray]:
        self.clock += 1
        self._changed_N[wanted], self._searched_N[wanted] = False, self.clock
        return list(self._boxes_N4[wanted])


def _grid(width: int, height: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top, min(left + side, width), min(top + side, height)


def _starts(length: int, side: int) -> list[int]:
    number = max(int(np.ceil((length - side) / (STEP * side))), 0) + 1
    return np.linspace(0, max(length - side, 0), number).round().astype(int).tolist()


def _distinct(faces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the faces without those at the place of an earlier one."""
    kept: list[np.ndarray] = []
    for face_J2 in faces:
        if not any(_same(face_J2, other_J2, 0.6) for other_J2 in kept):
            kept.append(face_J2)
    return kept


def _same(one_J2: np.ndarray, other_J2: np.ndarray, least: float = 0.5) -> bool:
    """Return True if two boxes overlap so much, or one is so far inside the other, that they are one face's."""
    one, other = box_of(one_J2), box_of(other_J2)
    common = overlap(one, other)
    sizes = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    shared = common * sum(sizes) / (1 + common)
    return common >= least or shared >= INSIDE * max(min(sizes), 1e-9)


def _overlap(one_J2: np.ndarray, other_J2: np.ndarray) -> float:
    return overlap(box_of(one_J2), box_of(other_J2))


def _height(face_J2: np.ndarray) -> float:
    """Return the longer side of a face's box: a turned head is narrow, one that lies on its side is low."""
    left, top, right, bottom = box_of(face_J2).tolist()
    return max(right - left, bottom - top)


def _scale_for(height: float) -> float:
    """Return the scale at which a known face of this height is shown to the network."""
    return SHOWN / height if height < ENOUGH else min(SHOWN / height, 1.0)


def _any(face_J2: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    return any(_same(face_J2, other_J2) for other_J2 in others)


def _apart(one_J2: np.ndarray, other_J2: np.ndarray) -> float:
    return float(np.hypot(*(_middle(one_J2) - _middle(other_J2))))


def _wide(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the whole picture's box if this one covers most of it: looking there then finds new faces for nothing."""
    inside = np.prod(np.minimum(box[2:], size) - np.maximum(box[:2], 0))
    return np.array([0, 0, *size]) if inside > WIDE * np.prod(size) else box


def _middle(face_J2: np.ndarray) -> np.ndarray:
    box = box_of(face_J2)
    return (box[:2] + box[2:]) / 2


def _around(face_J2: np.ndarray, times: float) -> np.ndarray:
    half = times * _height(face_J2) / 2
    return np.concatenate([_middle(face_J2) - half, _middle(face_J2) + half])


def _turn_of(face_J2: np.ndarray) -> int:
    """Return by how many quarters the picture must be turned counterclockwise (``np.rot90``) for an upright face."""
    down_2 = face_J2[STABLE[4]] - face_J2[list(STABLE[:4])].mean(axis=0)  # from the eyes to the nose
    return round(float(np.arctan2(-down_2[0], down_2[1])) / (np.pi / 2)) % 4


def _unturned(face_J2: np.ndarray, turn: int, size: tuple[int, int]) -> np.ndarray:
    """Map points of a picture turned by ``np.rot90`` to those of the picture of ``size`` (width, height)."""
    if turn == 0:
        return face_J2
    x_J, y_J = face_J2.T
    width, height = size
    return np.stack([(width - y_J, x_J), (width - x_J, height - y_J), (y_J, height - x_J)][turn - 1], axis=-1)
