"""Mend the clock of a recording whose time stamps restart, jump or lie.

A clock that restarts in all streams begins a new stretch, which follows on: sound and picture move together. A jump
ahead is a gap (slides, a microphone that is switched on later) unless nothing speaks for it. A stamp that leaves the
line and comes back is wrong, and so is the clock of one stream that restarts while another runs on.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

STEP_BACK_S = Fraction(1, 4)
"""Steps back up to this are no restart: pictures come out of order, and stamps wobble."""
STEP_AHEAD_S = Fraction(1)
"""Steps ahead up to this need no second look."""
UNPROVEN_GAP_S = Fraction(60)
"""Gaps up to this are believed; a longer one needs the stated length, or another stream that fills it."""
LONGEST_GAP_S = Fraction(24 * 3600)
"""No gap is longer: it would be filled with a day of silence."""
MAX_RUNS = 1000
"""Most runs of time stamps that follow each other, in a stream."""
INTERLEAVE_S = Fraction(3)
"""How much later in the file a second stream may restart and still belong to the same restart."""


class Stamps:
    """Times of one stream's packets in the file's order, in units of ``base`` seconds."""

    def __init__(self, base: Fraction, keep: bool = True) -> None:
        """``keep``: keep all times, and not only the last."""
        self.base, self.keep, self.count = base, keep, 0
        self.orders = array("q")  # number among the packets of all streams
        self.ordinals = array("q")  # number among those of the stream
        self.times = array("q")  # when to decode, which grows; else when to show
        self.shown = array("q")
        self.durations = array("q")
        self._back, self._ahead = int(STEP_BACK_S / base), int(STEP_AHEAD_S / base)
        self._last: int | None = None
        self._end: int | None = None
        self._duration = 0
        self.odd: list[int] = []  # places in ``times`` that do not follow from the ones before

    def is_odd(self, packet: Any) -> bool:
        """Return whether a packet's time does not follow from the last one's time and duration."""
        time = _stamp(packet)
        if time is None or self._last is None:
            return False
        return not -self._back <= time - self._last <= self._duration + self._ahead

    def add(self, order: int, packet: Any) -> None:
        """Add a packet; one without a time is only counted."""
        if (time := _stamp(packet)) is not None:
            shown = time if packet.pts is None else packet.pts
            if self.keep:
                self.odd += [len(self.times)] if self.is_odd(packet) else []
                self.orders.append(order)
                self.ordinals.append(self.count)
                self.times.append(time)
                self.shown.append(shown)
                self.durations.append(packet.duration or 0)
            step = 0 if self._last is None else max(0, time - self._last)
            self._duration = packet.duration or min(step, self._duration or step)
            self._last, end = time, shown + self._duration
            self._end = end if self._end is None else max(self._end, end)
        self.count += 1

    @property
    def end(self) -> Fraction | None:
        """End of the last packet to be shown in seconds; None without any."""
        return None if self._end is None else self._end * self.base


def _stamp(packet: Any) -> int | None:
    return packet.pts if packet.dts is None else packet.dts


class Run(NamedTuple):
    """Packets of one stream, ``first`` up to ``last``, whose times follow each other; start and end in seconds."""

    first: int
    last: int
    start: Fraction
    end: Fraction


class Change(NamedTuple):
    """From a stream's packet number ``ordinal`` on, ``shift`` is added to its times; None: it has no valid time."""

    ordinal: int
    shift: int | None


@dataclass(frozen=True)
class Mended:
    """What to do to the time stamps of a file."""

    changes: Mapping[int, Sequence[Change]]
    """By stream."""
    restarts: tuple[Fraction, ...]
    """Times of the recording's clock, in seconds, at which all streams began anew."""
    alone: tuple[tuple[int, Fraction], ...]
    """Stream and time where one stream's clock did and was not followed."""

    def shift(self, stream: int, ordinal: int) -> int | None:
        """Return what to add to the times of a packet; None: drop them."""
        changes = self.changes.get(stream, ())
        place = bisect_left(changes, ordinal + 1, key=lambda change: change.ordinal)
        return changes[place - 1].shift if place else 0


def mend(streams: Mapping[int, Stamps], promised_s: Fraction | None, is_mpeg: bool) -> Mended:
    """Return how to mend the times of the packets of all streams.

    ``promised_s``: end of the recording by its header, where it states one. ``is_mpeg``: the container's clock is
    known to jump (transport and program streams), so a jump ahead proves no gap. ValueError: they make no sense.
    """
    lines = {index: _Line(stamps) for index, stamps in streams.items() if stamps.times}
    for index, line in lines.items():
        others = [other for key, other in lines.items() if key != index]
        line.join_gaps(promised_s, is_mpeg, others)
    if (jumps := max((len(line.runs) for line in lines.values()), default=0)) > MAX_RUNS:
        raise ValueError(f"they jump {jumps} times; remux it")
    restarts, alone = [], []
    for group in _groups(lines):
        first_order = min(lines[index].order(run) for index, run in group.items())
        if any(line.runs_on(first_order) for index, line in lines.items() if index not in group):
            for index, run in group.items():
                line = lines[index]
                alone.append((index, end := line.end_before(run.first)))
                line.move(run.first, end - run.start)
            continue
        places = {
            index: group[index].first if index in group else line.place(first_order) for index, line in lines.items()
        }
        end = max(line.end_before(places[i]) for i, line in lines.items() if places[i])
        start = min(line.start_from(places[i]) for i, line in lines.items() if line.has(places[i]))
        restarts.append(end)
        for index, line in lines.items():
            line.move(places[index], end - start)
    return Mended({index: line.changes() for index, line in lines.items()}, tuple(restarts), tuple(alone))


class _Line:
    """The runs of one stream, and how far each packet moves."""

    def __init__(self, stamps: Stamps) -> None:
        self.stamps = stamps
        self.runs, self.dropped = _without_strays(_runs(stamps))
        self.shifts = [(0, Fraction(0))]  # (place, seconds), sorted

    def join_gaps(self, promised_s: Fraction | None, is_mpeg: bool, others: Sequence["_Line"]) -> None:
        """Join runs with an honest gap between them."""
        joined = self.runs[:1]
        for run in self.runs[1:]:
            gap = run.start - joined[-1].end
            honest = -STEP_BACK_S <= gap <= UNPROVEN_GAP_S
            if UNPROVEN_GAP_S < gap <= LONGEST_GAP_S:
                filled = any(other.covers(run.start - UNPROVEN_GAP_S, run.start) for other in others)
                stated = not is_mpeg if promised_s is None else run.start <= promised_s + STEP_AHEAD_S
                honest = filled or stated
            if honest:
                joined[-1] = Run(joined[-1].first, run.last, joined[-1].start, max(joined[-1].end, run.end))
            else:
                joined.append(run)
        self.runs = joined

    def covers(self, start: Fraction, end: Fraction) -> bool:
        return any(run.start < end and run.end > start for run in self.runs)

    def order(self, run: Run) -> int:
        return self.stamps.orders[run.first]

    def place(self, order: int) -> int:
        """Return the stream's first packet from a place in the file on."""
        return bisect_left(self.stamps.orders, order)

    def has(self, place: int) -> bool:
        return place < len(self.stamps.times)

    def runs_on(self, order: int) -> bool:
        return self.place(order) > 0 and self.has(self.place(order))

    def _shift(self, place: int) -> Fraction:
        return next(shift for first, shift in reversed(self.shifts) if first <= place)

    def end_before(self, place: int) -> Fraction:
        """Return the mended end of the last run before a packet."""
        run = [run for run in self.runs if run.first < place][-1]
        if run.last <= place:
            return run.end + self._shift(run.first)
        inside = range(run.first, place)
        return _end(self.stamps, inside) + self._shift(place - 1)

    def start_from(self, place: int) -> Fraction:
        last = min(place + 32, len(self.stamps.shown))  # pictures come out of order
        return min(self.stamps.shown[place:last]) * self.stamps.base

    def move(self, place: int, shift: Fraction) -> None:
        """Set how far packets move from one on."""
        self.shifts.append((place, shift))

    def changes(self) -> list[Change]:
        ordinals, base = [*self.stamps.ordinals, self.stamps.count], self.stamps.base
        changes = {ordinals[place]: round(shift / base) for place, shift in self.shifts}
        drops: dict[int, int | None] = {}
        for run in self.dropped:
            drops[ordinals[run.first]] = None
            drops.setdefault(ordinals[run.last], changes.get(ordinals[run.last], round(self._shift(run.last) / base)))
        return [Change(*pair) for pair in sorted((changes | drops).items())]


def _runs(stamps: Stamps) -> list[Run]:
    runs = []
    for first, last in zip([0, *stamps.odd], [*stamps.odd, len(stamps.times)], strict=True):
        start = min(stamps.shown[first : min(last, first + 32)]) * stamps.base
        runs.append(Run(first, last, start, _end(stamps, range(first, last))))
    return runs


def _end(stamps: Stamps, places: range) -> Fraction:
    """Return where packets end; one that states no duration lasts as long as the step before it."""
    tail = range(max(places.start, places.stop - 32), places.stop)
    latest = max(tail, key=lambda place: stamps.shown[place])
    duration = stamps.durations[latest]
    if not duration and len(tail) > 1:
        duration = abs(stamps.times[tail[-1]] - stamps.times[tail[0]]) // (len(tail) - 1)
    return (stamps.shown[latest] + duration) * stamps.base


def _without_strays(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs, joined where a run between two is off the line that they continue; and those that are."""
    kept, strays = runs[:1], []
    place = 1
    while place < len(runs):
        run, before = runs[place], kept[-1]
        if place + 1 < len(runs):
            after = runs[place + 1]
            if -STEP_BACK_S <= after.start - before.end <= run.end - run.start + STEP_AHEAD_S:
                strays.append(run)
                kept[-1] = Run(before.first, after.last, before.start, after.end)
                place += 2
                continue
        kept.append(run)
        place += 1
    return kept, strays


def _groups(lines: Mapping[int, _Line]) -> list[dict[int, Run]]:
    """Return the restarts that belong together, one run of a stream each, in the file's order."""
    events = sorted((line.order(run), index, run) for index, line in lines.items() for run in line.runs[1:])
    groups: list[dict[int, Run]] = []
    for order, index, run in events:
        if groups and index not in groups[-1]:
            leader, begun = next(iter(groups[-1].items()))
            last = lines[leader].place(order) - 1
            stamps = lines[leader].stamps
            if begun.first <= last < begun.last:
                progress = (stamps.times[last] - stamps.times[begun.first]) * stamps.base
                if progress < INTERLEAVE_S:
                    groups[-1][index] = run
                    continue
        groups.append({index: run})
    return groups
