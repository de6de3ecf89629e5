"""Greedy, sampled and beam search over a batch, for every model.

Hypotheses end by fairseq's rule (AV-HuBERT, Shi et al. 2022, arXiv:2201.02184) or by OpenAI's (openai-whisper, MIT;
Radford et al. 2023, arXiv:2212.04356), with the patience of Kasai et al. (2022, arXiv:2204.05424). Where we differ,
with equal tokens: finished utterances leave the batch, and all work between steps stays on the device.

Axes: ``R`` hypotheses, utterance-major; ``K`` those of an utterance; ``C`` candidates to go on; ``M`` finished ones.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avspeech.models.decoder import State

GPU_INTERVAL = 8  # steps between two checks for finished hypotheses on a GPU, where each check stalls the device
SHRINK_AT = 0.5
"""Finished utterances leave the batch when at most this share is unfinished. Measured on one core, eight clips, Whisper
base: 0.25 s per clip; 0.26 s leaving at once; 0.31 s never leaving."""


@dataclass(frozen=True)
class Found:
    """Tokens of one hypothesis, without prompt and end."""

    tokens: list[int]
    logprob: float  # sum of the parts
    parts: tuple[float, ...] = ()
    """Share of each token, the end's last; a text that was cut off has no end."""


class Scorer:
    """Scores of the next token of every hypothesis, at first one per utterance; holds a decoder's state."""

    state: State

    @property
    def num_utterances(self) -> int:
        """Utterances of the batch."""
        return self.state.num_utterances

    def step(self, tokens_RL: Tensor) -> Tensor:
        """Return the score that each next token adds, (R, V) float32; -inf if it may not follow.

        ``tokens_RL`` are all tokens so far, without the prompt, (0, 0) at first; only the last is new.
        """
        raise NotImplementedError

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]`` of the same utterance."""
        self.state.reorder(rows_R)

    def repeat(self, times: int) -> None:
        """Turn every hypothesis into ``times`` equal ones, one after the other."""
        self.state.repeat(times)

    def keep(self, places: list[int]) -> None:
        """Drop all utterances but those at ``places``, in this order."""
        self.state.keep(places)


@dataclass(frozen=True)
class Ending:
    """When a candidate with an end token is a finished hypothesis, and how many an utterance needs."""

    wanted: int  # finished hypotheses that complete an utterance
    among_best: bool
    """True, fairseq: it is among the best ``beam_size`` candidates. False, OpenAI: fewer than ``beam_size`` candidates
    without an end are better."""


@torch.no_grad()
def sample_tokens(
    scorer: Scorer, end: int, limit: int, temperature: float = 0.0, uniform_RL: Tensor | None = None
) -> list[list[Found]]:
    """Return the hypotheses of each utterance, one per row, greedy or sampled; uses up the scorer.

    ``limit`` counts the end. ``uniform_RL`` in [0, 1), one per token, samples log-probabilities over ``temperature``.
    """
    log_RV = scorer.step(torch.zeros(0, 0, dtype=torch.long))
    batch = scorer.num_utterances
    samples = _Samples(temperature, uniform_RL, batch, len(log_RV) // batch, limit, end, log_RV.device)
    return _search(scorer, samples, log_RV, limit)


@torch.no_grad()
def beam_tokens(scorer: Scorer, end: int, limit: int, beam_size: int, ending: Ending) -> list[list[Found]]:
    """Return the hypotheses that a beam finds for each utterance, in the order found; uses up the scorer.

    If fewer than ``beam_size`` finish, the best unfinished ones with a finite score follow. ``limit`` counts the end.
    """
    log_RV = scorer.step(torch.zeros(0, 0, dtype=torch.long))
    beams = _Beams(ending, scorer.num_utterances, beam_size, limit, end, log_RV.device)
    return _search(scorer, beams, log_RV, limit)


def _search(scorer: Scorer, hypotheses: "_Samples | _Beams", log_RV: Tensor, limit: int) -> list[list[Found]]:
    utterances = list(range(scorer.num_utterances))  # the utterance at each place of the batch
    found: list[list[Found]] = [[] for _ in utterances]
    for step in range(limit):
        if step:
            log_RV = scorer.step(hypotheses.tokens_BKL[:, :, :step].flatten(0, 1))
        hypotheses.advance(log_RV, step, scorer)
        if not _looks(step, log_RV.device):
            continue
        alive = [place for place, is_done in enumerate(hypotheses.done_B.tolist()) if not is_done]
        if not alive:
            break
        if len(alive) <= SHRINK_AT * len(utterances):
            for place in set(range(len(utterances))) - set(alive):
                found[utterances[place]] = hypotheses.collect(place)
            stay = closed_up(alive)
            scorer.keep(stay)
            hypotheses.keep(stay)
            utterances = [utterances[place] for place in stay]
    for place, utterance in enumerate(utterances):
        found[utterance] = hypotheses.collect(place)
    return found


class _Hypotheses:
    """Hypotheses of all utterances."""

    def __init__(self, batch: int, size: int, limit: int, end: int, device: torch.device) -> None:
        self.size, self.end = size, end
        self.tokens_BKL = torch.full((batch, size, limit), end, device=device)
        self.parts_BKL = torch.zeros(batch, size, limit, device=device)
        self.logprob_BK = torch.zeros(batch, size, device=device)
        self.done_B = torch.zeros(batch, dtype=torch.bool, device=device)

    def keep(self, places: list[int]) -> None:
        index_B = torch.tensor(places, device=self.done_B.device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[index_B])

    def _found(self, tokens_KL: Tensor, logprob_K: Tensor, parts_KL: Tensor) -> list[Found]:
        found = []
        for tokens, *rest in zip(tokens_KL.tolist(), logprob_K.tolist(), parts_KL.tolist(), strict=True):
            length = tokens.index(self.end) if self.end in tokens else len(tokens)
            found.append(Found(tokens[:length], rest[0], tuple(rest[1][: length + 1])))
        return found


class _Samples(_Hypotheses):
    """Hypotheses that take their likeliest token, or a drawn one."""

    def __init__(self, temperature: float, uniform_RL: Tensor | None, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.temperature = temperature
        self.uniform_BKL = None if uniform_RL is None else uniform_RL.view_as(self.parts_BKL)
        self.done_BK = torch.zeros_like(self.logprob_BK, dtype=torch.bool)

    def advance(self, log_RV: Tensor, step: int, _: Scorer) -> None:
        if self.uniform_BKL is not None:
            next_R = draw(log_RV / self.temperature, self.uniform_BKL[..., step].flatten())
        else:
            next_R = log_RV.argmax(dim=1)
        part_BK = log_RV.gather(1, next_R[:, None]).view_as(self.done_BK)
        self.parts_BKL[..., step] = torch.where(self.done_BK, 0, part_BK)
        self.logprob_BK = self.logprob_BK + self.parts_BKL[..., step]
        self.tokens_BKL[..., step] = torch.where(self.done_BK, self.end, next_R.view_as(self.done_BK))
        self.done_BK = self.done_BK | (self.tokens_BKL[..., step] == self.end)
        self.done_B = self.done_BK.all(dim=1)

    def collect(self, place: int) -> list[Found]:
        return self._found(self.tokens_BKL[place], self.logprob_BK[place], self.parts_BKL[place])


def draw(logits_RV: Tensor, uniform_R: Tensor) -> Tensor:
    """Return one sampled token per row, by inverting the cumulative distribution; float32 would lose the tail."""
    sums_RV = logits_RV.double().softmax(dim=1).cumsum(dim=1)
    wanted_R1 = uniform_R[:, None].to(sums_RV) * sums_RV[:, -1:]
    return torch.searchsorted(sums_RV, wanted_R1, right=True)[:, 0].clamp(max=logits_RV.shape[1] - 1)


class _Beams(_Hypotheses):
    """Hypotheses of a beam, alive and finished."""

    def __init__(self, ending: Ending, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.ending = ending
        self.length_B = torch.zeros_like(self.done_B, dtype=torch.long)  # tokens of the hypotheses alive
        # One more place than wanted takes the hypotheses that finish too late.
        batch, size, limit = len(self.done_B), ending.wanted + 1, self.tokens_BKL.shape[2]
        self.ended_BML = self.tokens_BKL.new_full((batch, size, limit), self.end)
        self.ended_parts_BML = self.parts_BKL.new_zeros(batch, size, limit)
        self.ended_logprob_BM = self.logprob_BK.new_zeros(batch, size)
        self.count_B = torch.zeros_like(self.length_B)

    def advance(self, log_RV: Tensor, step: int, scorer: Scorer) -> None:
        """Take the next token of each hypothesis; R is B at the first step, B * K later."""
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
        tokens_BKL, parts_BKL = self._grown(parent_BK, token_BC.gather(1, place_BK), added_BC.gather(1, place_BK), step)
        # A finished utterance stays as it is: with little patience, its unfinished hypotheses count as found.
        going_B11 = ~self.done_B[:, None, None]
        for part_BKL, new_BKL in ((self.tokens_BKL, tokens_BKL), (self.parts_BKL, parts_BKL)):
            part_BKL[:, :, : step + 1] = torch.where(going_B11, new_BKL, part_BKL[:, :, : step + 1])
        self.logprob_BK = torch.where(going_B11[..., 0], total_BC.gather(1, place_BK), self.logprob_BK)
        self.length_B = torch.where(self.done_B, self.length_B, step + 1)
        self.done_B = (self.count_B >= self.ending.wanted) | (self.logprob_BK == -torch.inf).all(dim=1)
        if step == 0:
            scorer.repeat(self.size)
        else:
            first_row_B1 = torch.arange(batch, device=parent_BK.device)[:, None] * self.size
            scorer.reorder((first_row_B1 + parent_BK).flatten())

    def _finish(self, is_end_BC: Tensor, parent_BC: Tensor, total_BC: Tensor, added_BC: Tensor, step: int) -> None:
        """Write candidates with an end to the places of finished hypotheses, in their order."""
        if self.ending.among_best:
            better_BC = torch.arange(is_end_BC.shape[1], device=is_end_BC.device)
        else:
            better_BC = (~is_end_BC).cumsum(dim=1)
        ends_BC = is_end_BC & (better_BC < self.size) & (total_BC > -torch.inf)
        place_BC = self.count_B[:, None] + ends_BC.cumsum(dim=1) - 1
        place_BC = torch.where(ends_BC & (place_BC < self.ending.wanted), place_BC, self.ending.wanted)
        tokens_BCL, parts_BCL = self._grown(parent_BC, self.end, added_BC, step)
        place_BCL = place_BC[..., None].expand(-1, -1, step + 1)
        self.ended_BML[:, :, : step + 1].scatter_(1, place_BCL, tokens_BCL)
        self.ended_parts_BML[:, :, : step + 1].scatter_(1, place_BCL, parts_BCL)
        self.ended_logprob_BM.scatter_(1, place_BC, total_BC)
        self.count_B = (self.count_B + ends_BC.sum(dim=1)).clamp(max=self.ending.wanted)

    def _grown(self, parent_BC: Tensor, token: Tensor | int, added_BC: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return tokens and parts of candidates, (B, C, step + 1)."""
        parent_BCL = parent_BC[..., None].expand(-1, -1, step + 1)
        tokens_BCL, parts_BCL = (
            part[..., : step + 1].gather(1, parent_BCL) for part in (self.tokens_BKL, self.parts_BKL)
        )
        tokens_BCL[..., step], parts_BCL[..., step] = token, added_BC
        return tokens_BCL, parts_BCL

    def collect(self, place: int) -> list[Found]:
        """Return the finished hypotheses in order, filled up to the beam size with the best ones alive."""
        ended = (self.ended_BML, self.ended_logprob_BM, self.ended_parts_BML)
        found = self._found(*(part[place, : int(self.count_B[place])] for part in ended))
        length = int(self.length_B[place])
        alive = self._found(
            self.tokens_BKL[place, :, :length], self.logprob_BK[place], self.parts_BKL[place, :, :length]
        )
        alive = sorted((one for one in alive if one.logprob > -torch.inf), key=lambda one: -one.logprob)
        return found + alive[: max(0, self.size - len(found))]


def _looks(step: int, device: torch.device) -> bool:
    return device.type == "cpu" or step % GPU_INTERVAL == GPU_INTERVAL - 1


def closed_up(alive: list[int]) -> list[int]:
    """Return the former place of each remaining utterance: those before the new end stay, later ones fill the gaps."""
    count = len(alive)
    behind = [place for place in alive if place >= count]
    return [place if place in alive else behind.pop(0) for place in range(count)]
