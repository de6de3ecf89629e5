"""Greedy, sampled and beam search over a batch, for every model.

Hypotheses end by fairseq's rule (AV-HuBERT, Shi et al. 2022, arXiv:2201.02184) or by OpenAI's (openai-whisper, MIT;
Radford et al. 2023, arXiv:2212.04356), with the patience of Kasai et al. (2022, arXiv:2204.05424). Where we differ,
with equal tokens: finished utterances leave the batch, and all work between steps stays on the device.

Axes: ``R`` a hypothesis, utterance-major; ``K`` hypotheses of an utterance; ``C`` candidates to continue them; ``M``
places for finished ones.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

GPU_INTERVAL = 8
"""Steps between two checks for finished hypotheses on a GPU, where each check stalls the device."""
SHRINK_AT = 0.5
"""Finished utterances leave the batch when at most this share is unfinished. Measured on one core, eight clips, Whisper
base: 0.25 s per clip; 0.26 s leaving at once; 0.31 s never leaving."""


@dataclass(frozen=True)
class Found:
    """Tokens of one hypothesis, without prompt and end."""

    tokens: list[int]
    logprob: float
    """Sum of ``parts``."""
    parts: tuple[float, ...] = ()
    """Share of each token, the end's last; a text that was cut off has no end."""


class Scorer(Protocol):
    """Scores of the next token for every hypothesis of a search, one per utterance at first."""

    @property
    def num_utterances(self) -> int:
        """Utterances of the batch."""
        ...

    def step(self, tokens_RL: Tensor) -> Tensor:
        """Return the score that each next token adds, (R, V) float32; -inf if it may not follow.

        ``tokens_RL`` are all tokens so far, without the prompt; only the last is new. At first it is (0, 0).
        """
        ...

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]`` of the same utterance."""
        ...

    def repeat(self, times: int) -> None:
        """Turn every hypothesis into ``times`` equal ones, one after the other."""
        ...

    def keep(self, places: list[int]) -> None:
        """Drop all utterances but those at ``places``, in this order."""
        ...


@dataclass(frozen=True)
class Ending:
    """When a candidate with an end token is a finished hypothesis, and how many an utterance needs."""

    wanted: int
    """Finished hypotheses that complete an utterance."""
    among_best: bool
    """True, fairseq: it is among the best ``beam_size`` candidates. False, OpenAI: fewer than ``beam_size`` candidates
    without an end are better."""


@torch.no_grad()
def sample_tokens(
    scorer: Scorer, end: int, limit: int, temperature: float = 0.0, uniform_RL: Tensor | None = None
) -> list[Found]:
    """Return one hypothesis per row: greedy at temperature 0, sampled above it; uses up the scorer.

    Args:
        limit: most steps, the end's included.
        temperature: divides the log-probabilities.
        uniform_RL: random numbers in [0, 1), one per token; needed above temperature 0.
    """
    utterances = list(range(scorer.num_utterances))  # the utterance at each place of the batch
    log_RV = scorer.step(torch.zeros(0, 0, dtype=torch.long))
    device, num_rows = log_RV.device, len(log_RV)
    group = num_rows // len(utterances)
    tokens_RL = torch.full((num_rows, limit), end, device=device)
    parts_RL = torch.zeros(num_rows, limit, device=device)
    logprob_R = torch.zeros(num_rows, device=device)
    done_R = torch.zeros(num_rows, dtype=torch.bool, device=device)
    found: dict[int, Found] = {}

    def collect(places: list[int]) -> None:
        rows = [place * group + k for place in places for k in range(group)]
        columns = (tokens_RL[rows].tolist(), logprob_R[rows].tolist(), parts_RL[rows].tolist())
        for row, tokens, logprob, parts in zip(rows, *columns, strict=True):
            length = tokens.index(end) if end in tokens else limit
            number = utterances[row // group] * group + row % group
            found[number] = Found(tokens[:length], logprob, tuple(parts[: length + 1]))

    for step in range(limit):
        if step:
            log_RV = scorer.step(tokens_RL[:, :step])
        if temperature > 0:
            assert uniform_RL is not None
            next_R = draw(log_RV / temperature, uniform_RL[:, step])
        else:
            next_R = log_RV.argmax(dim=1)
        parts_RL[:, step] = torch.where(done_R, 0, log_RV.gather(1, next_R[:, None])[:, 0])
        logprob_R = logprob_R + parts_RL[:, step]
        tokens_RL[:, step] = torch.where(done_R, end, next_R)
        done_R = done_R | (tokens_RL[:, step] == end)
        if not _looks(step, device):
            continue
        alive = _places((~done_R.view(-1, group)).any(dim=1))
        if not alive:
            break
        if len(alive) <= SHRINK_AT * len(utterances):
            collect([place for place in range(len(utterances)) if place not in set(alive)])
            stay = closed_up(alive)
            scorer.keep(stay)
            utterances = [utterances[place] for place in stay]
            rows_R = torch.tensor([place * group + k for place in stay for k in range(group)], device=device)
            tokens_RL, parts_RL = tokens_RL[rows_R], parts_RL[rows_R]
            logprob_R, done_R = logprob_R[rows_R], done_R[rows_R]
            uniform_RL = None if uniform_RL is None else uniform_RL[rows_R]
    collect(list(range(len(utterances))))
    return [found[number] for number in range(num_rows)]


def draw(logits_RV: Tensor, uniform_R: Tensor) -> Tensor:
    """Return one sampled token per row, by inverting the cumulative distribution; float32 would lose the tail."""
    sums_RV = logits_RV.double().softmax(dim=1).cumsum(dim=1)
    wanted_R1 = uniform_R[:, None].to(sums_RV) * sums_RV[:, -1:]
    return torch.searchsorted(sums_RV, wanted_R1, right=True)[:, 0].clamp(max=logits_RV.shape[1] - 1)


@torch.no_grad()
def beam_tokens(scorer: Scorer, end: int, limit: int, beam_size: int, ending: Ending) -> list[list[Found]]:
    """Return the hypotheses that a beam finds for each utterance, in the order found; uses up the scorer.

    If fewer than ``beam_size`` finish, the best unfinished ones with a finite score follow. ``limit`` counts the end.
    """
    utterances = list(range(scorer.num_utterances))
    found: list[list[Found]] = [[] for _ in utterances]
    log_RV = scorer.step(torch.zeros(0, 0, dtype=torch.long))
    device = log_RV.device
    beams = _Beams(len(utterances), beam_size, ending, limit, end, device)
    for step in range(limit):
        if step:
            log_RV = scorer.step(beams.tokens_BKL[:, :, :step].flatten(0, 1))
        parents_BK = beams.advance(log_RV, step)
        if step == 0:
            scorer.repeat(beam_size)
        else:
            first_row_B1 = torch.arange(len(parents_BK), device=device)[:, None] * beam_size
            scorer.reorder((first_row_B1 + parents_BK).flatten())
        if not _looks(step, device):
            continue
        alive = _places(~beams.done_B)
        if not alive:
            break
        if len(alive) <= SHRINK_AT * len(utterances):
            for place in set(range(len(utterances))) - set(alive):
                found[utterances[place]] = beams.collect(place)
            stay = closed_up(alive)
            scorer.keep(stay)
            beams.keep(stay)
            utterances = [utterances[place] for place in stay]
    for place, utterance in enumerate(utterances):
        found[utterance] = beams.collect(place)
    return found


class _Beams:
    """Hypotheses of all utterances, alive and finished."""

    def __init__(self, batch: int, size: int, ending: Ending, limit: int, end: int, device: torch.device) -> None:
        self.size, self.ending, self.end = size, ending, end
        self.tokens_BKL = torch.full((batch, size, limit), end, device=device)
        self.parts_BKL = torch.zeros(batch, size, limit, device=device)
        self.logprob_BK = torch.zeros(batch, size, device=device)
        self.length_B = torch.zeros(batch, dtype=torch.long, device=device)  # tokens of the hypotheses alive
        # One more place than wanted takes the hypotheses that finish too late.
        places = ending.wanted + 1
        self.ended_BML = torch.full((batch, places, limit), end, device=device)
        self.ended_parts_BML = torch.zeros(batch, places, limit, device=device)
        self.ended_logprob_BM = torch.zeros(batch, places, device=device)
        self.count_B = torch.zeros(batch, dtype=torch.long, device=device)
        self.done_B = torch.zeros(batch, dtype=torch.bool, device=device)

    def advance(self, log_RV: Tensor, step: int) -> Tensor:
        """Take the next token of each hypothesis; return which hypothesis each one alive continues, (B, K).

        ``log_RV`` is the score that each token adds; R is B at the first step, B * K later.
        """
        batch, per_row = len(self.tokens_BKL), self.size + 1
        best = log_RV.topk(per_row, dim=1)
        rows = len(log_RV) // batch
        added_BC, token_BC = best.values.view(batch, -1), best.indices.view(batch, -1)
        total_BC = (self.logprob_BK[:, :rows, None] + best.values.view(batch, rows, -1)).flatten(1)
        # Of the best 2 K candidates at least K have no end, because each hypothesis has one candidate with an end.
        total_BC, order_BC = (part[:, : 2 * self.size] for part in total_BC.sort(dim=1, descending=True, stable=True))
        token_BC, added_BC, parent_BC = token_BC.gather(1, order_BC), added_BC.gather(1, order_BC), order_BC // per_row
        is_end_BC = token_BC == self.end
        self._finish(is_end_BC, parent_BC, total_BC, added_BC, step)
        place_BK = (~is_end_BC).int().argsort(dim=1, descending=True, stable=True)[:, : self.size]
        parent_BK = parent_BC.gather(1, place_BK)
        tokens_BKL, parts_BKL = (self._of(parent_BK, part, step + 1) for part in (self.tokens_BKL, self.parts_BKL))
        tokens_BKL[:, :, step], parts_BKL[:, :, step] = token_BC.gather(1, place_BK), added_BC.gather(1, place_BK)
        # A finished utterance stays as it is: with little patience, its unfinished hypotheses count as found.
        going_B11 = ~self.done_B[:, None, None]
        for part_BKL, new_BKL in ((self.tokens_BKL, tokens_BKL), (self.parts_BKL, parts_BKL)):
            part_BKL[:, :, : step + 1] = torch.where(going_B11, new_BKL, part_BKL[:, :, : step + 1])
        self.logprob_BK = torch.where(going_B11[..., 0], total_BC.gather(1, place_BK), self.logprob_BK)
        self.length_B = torch.where(self.done_B, self.length_B, step + 1)
        self.done_B = (self.count_B >= self.ending.wanted) | (self.logprob_BK == -torch.inf).all(dim=1)
        return parent_BK

    def _finish(self, is_end_BC: Tensor, parent_BC: Tensor, total_BC: Tensor, added_BC: Tensor, step: int) -> None:
        """Write candidates with an end to the places of finished hypotheses, in their order."""
        if self.ending.among_best:
            better_BC = torch.arange(is_end_BC.shape[1], device=is_end_BC.device)
        else:
            better_BC = (~is_end_BC).cumsum(dim=1)
        ends_BC = is_end_BC & (better_BC < self.size) & (total_BC > -torch.inf)
        place_BC = self.count_B[:, None] + ends_BC.cumsum(dim=1) - 1
        place_BC = torch.where(ends_BC & (place_BC < self.ending.wanted), place_BC, self.ending.wanted)
        tokens_BCL, parts_BCL = (self._of(parent_BC, part, step + 1) for part in (self.tokens_BKL, self.parts_BKL))
        tokens_BCL[:, :, step], parts_BCL[:, :, step] = self.end, added_BC
        place_BCL = place_BC[..., None].expand(-1, -1, step + 1)
        self.ended_BML[:, :, : step + 1].scatter_(1, place_BCL, tokens_BCL)
        self.ended_parts_BML[:, :, : step + 1].scatter_(1, place_BCL, parts_BCL)
        self.ended_logprob_BM.scatter_(1, place_BC, total_BC)
        self.count_B = (self.count_B + ends_BC.sum(dim=1)).clamp(max=self.ending.wanted)

    @staticmethod
    def _of(parent_BC: Tensor, part_BKL: Tensor, length: int) -> Tensor:
        return part_BKL[:, :, :length].gather(1, parent_BC[..., None].expand(-1, -1, length))

    def keep(self, places: list[int]) -> None:
        index_B = torch.tensor(places, device=self.done_B.device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[index_B])

    def collect(self, place: int) -> list[Found]:
        """Return the finished hypotheses in order, filled up to the beam size with the best ones alive."""
        count, length = int(self.count_B[place]), int(self.length_B[place])
        found = []
        ended = zip(self.ended_BML[place, :count].tolist(), self.ended_logprob_BM[place].tolist(), strict=False)
        for (tokens, logprob), parts in zip(ended, self.ended_parts_BML[place].tolist(), strict=False):
            end = tokens.index(self.end)
            found.append(Found(tokens[:end], logprob, tuple(parts[: end + 1])))
        alive = [
            Found(tokens[:length], logprob, tuple(parts[:length]))
            for tokens, logprob, parts in zip(
                *(part[place].tolist() for part in (self.tokens_BKL, self.logprob_BK, self.parts_BKL)), strict=True
            )
            if logprob > -torch.inf
        ]
        return found + sorted(alive, key=lambda one: -one.logprob)[: max(0, self.size - len(found))]


def _looks(step: int, device: torch.device) -> bool:
    return device.type == "cpu" or step % GPU_INTERVAL == GPU_INTERVAL - 1


def _places(alive_B: Tensor) -> list[int]:
    return [place for place, is_alive in enumerate(alive_B.tolist()) if is_alive]


def closed_up(alive: list[int]) -> list[int]:
    """Return the former place of each remaining utterance: those before the new end stay, later ones fill the gaps."""
    count = len(alive)
    behind = [place for place in alive if place >= count]
    before = set(alive)
    return [place if place in before else behind.pop(0) for place in range(count)]
