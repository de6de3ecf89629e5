"""Beam search with a key-value cache, all hypotheses of a batch at once.

A hypothesis' score is its log-probability, end token included, over (number of tokens + 1) ** length_penalty. A
sentence is finished when ``beam_size`` hypotheses have ended, and at the length limit the end is forced, as in the
decoder that AV-HuBERT was published with.
"""

import torch
from torch import Tensor

from avspeech.decoding.greedy import BEGIN, END, PAD, TokenHypothesis, longest_text
from avspeech.models.decoder import TextDecoder


@torch.no_grad()
def beam_search(
    decoder: TextDecoder,
    memory_BTD: Tensor,
    valid_BT: Tensor,
    beam_size: int,
    length_penalty: float = 1.0,
    max_length: int | None = None,
) -> list[list[TokenHypothesis]]:
    """Return up to ``beam_size`` hypotheses of each utterance, best first.

    Args:
        decoder: the text decoder, in evaluation mode.
        memory_BTD: the encoder's output.
        valid_BT: bool, True where the memory is real.
        beam_size: hypotheses kept alive; at least 1.
        length_penalty: exponent of the length; above 1 favours longer texts.
        max_length: most tokens of a hypothesis; None allows one a frame.

    Raises:
        ValueError: ``beam_size`` is below 1 or not below the vocabulary's size.
    """
    vocab_size = decoder.embedding.num_embeddings
    if not 1 <= beam_size < vocab_size:
        raise ValueError(f"beam_size={beam_size} must be at least 1 and below the vocabulary's {vocab_size} tokens")
    batch, device = len(memory_BTD), memory_BTD.device
    limit = longest_text(valid_BT.shape[1], max_length)
    state = decoder.start(memory_BTD, valid_BT, limit + 1, beam_size)
    tokens_R = torch.full((batch * beam_size,), BEGIN, device=device)  # R: rows, utterance-major
    history_RL = tokens_R.new_zeros((batch * beam_size, 0))
    alive_BK = torch.full((batch, beam_size), -torch.inf, device=device)
    alive_BK[:, 0] = 0  # all beams start equal: let only the first one speak
    ended: list[list[TokenHypothesis]] = [[] for _ in range(batch)]
    for step in range(limit + 1):
        log_RV = decoder.step(tokens_R, state).float().log_softmax(dim=-1)
        log_RV[:, PAD] = -torch.inf
        if step == limit:  # nothing but the end may follow
            log_RV = log_RV.masked_fill(torch.arange(vocab_size, device=device) != END, -torch.inf)
        total_BW = (alive_BK[..., None] + log_RV.view(batch, beam_size, vocab_size)).flatten(1)
        # Twice as many candidates as beams: at most one of each beam's is the end, so enough go on.
        best = total_BW.topk(min(2 * beam_size, total_BW.shape[1]), dim=1)
        beams_BC, tokens_BC = best.indices // vocab_size, best.indices % vocab_size
        keep_rows, keep_tokens, keep_scores = [], [], []
        finished = [len(hypotheses) >= beam_size for hypotheses in ended]
        for b, (beams, tokens, scores) in enumerate(
            zip(beams_BC.tolist(), tokens_BC.tolist(), best.values.tolist(), strict=True)
        ):
            rows: list[tuple[int, int, float]] = []
            for rank, (beam, token, score) in enumerate(zip(beams, tokens, scores, strict=True)):
                row = b * beam_size + beam
                if token == END:
                    if not finished[b] and rank < beam_size and score > -torch.inf:
                        final = score / (step + 1) ** length_penalty
                        ended[b].append(TokenHypothesis(history_RL[row].tolist(), final))
                elif len(rows) < beam_size:
                    rows.append((row, token, score))
            rows += [(b * beam_size, PAD + 2, -torch.inf)] * (beam_size - len(rows))
            keep_rows += [row for row, _, _ in rows]
            keep_tokens += [token for _, token, _ in rows]
            keep_scores += [score for _, _, score in rows]
        if step == limit or all(len(hypotheses) >= beam_size for hypotheses in ended):
            break
        rows_R = torch.tensor(keep_rows, device=device)
        tokens_R = torch.tensor(keep_tokens, device=device)
        alive_BK = torch.tensor(keep_scores, device=device).view(batch, beam_size)
        history_RL = torch.cat([history_RL[rows_R], tokens_R[:, None]], dim=1)
        state.reorder(rows_R)
    return [sorted(hypotheses, key=lambda h: -h.score)[:beam_size] for hypotheses in ended]
