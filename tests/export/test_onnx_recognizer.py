"""Graphs of a recogniser give what torch gives, at sizes that the export never saw."""

import numpy as np
import pytest
import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import decode_memory
from avspeech.export.runtime import Decoding, OnnxModel
from avspeech.models.memory import Memory
from tests.export.tiny_exports import LIMIT, MODALITIES, as_arrays, largest_share
from tests.models.tiny_whisper import valid_until

SIZES_TRIED = [[1], [2], [7, 4], [12, 12, 5], [40, 1, 33, 3, 20]]


def make_streams(lengths):
    generator = torch.Generator().manual_seed(1)
    audio_BTF = torch.randn(len(lengths), max(lengths), 104, generator=generator)
    video_BTHW = torch.randint(0, 256, (len(lengths), max(lengths), 24, 24), generator=generator, dtype=torch.uint8)
    return {"audio_BTF": audio_BTF, "video_BTHW": video_BTHW, "valid_BT": valid_until(lengths, max(lengths))}


@pytest.fixture(scope="module")
def onnx_model(recognizer_folder):
    return OnnxModel.open(recognizer_folder, threads=1)


@pytest.mark.parametrize("keep_2", MODALITIES, ids=str)
@pytest.mark.parametrize("lengths", SIZES_TRIED, ids=str)
@torch.no_grad()
def test_the_encoder_and_every_step_give_what_torch_gives(recognizer, onnx_model, lengths, keep_2):
    streams, keep_B2 = make_streams(lengths), torch.tensor([keep_2] * len(lengths))
    memory_BTD = recognizer(**streams, keep_B2=keep_B2)
    found = onnx_model.encode(**as_arrays(streams), keep_B2=keep_B2.numpy())
    valid_BT = streams["valid_BT"].numpy()
    assert largest_share(found["memory_BTD"][valid_BT], memory_BTD.numpy()[valid_BT]) < LIMIT
    wanted = recognizer.ctc_logits(memory_BTD).numpy()
    valid_BU = valid_BT.repeat(2, axis=1)
    assert largest_share(found["ctc_logits_BUV"][valid_BU], wanted[valid_BU]) < LIMIT
    if recognizer.decoder is None:
        return
    tokens_BL = torch.randint(0, recognizer.vocab_size, (len(lengths), 6))
    wanted = recognizer.decoder(tokens_BL, Memory(memory_BTD, streams["valid_BT"]))
    decoding = Decoding(onnx_model, found)
    steps = [decoding.feed(tokens_BL[:, first:end].numpy()) for first, end in ((0, 1), (1, 2), (2, 6))]
    assert largest_share(np.concatenate(steps, axis=1), wanted) < LIMIT


@pytest.mark.parametrize("names", [("audio_BTF", "video_BTHW"), ("audio_BTF",), ("video_BTHW",)], ids=str)
@torch.no_grad()
def test_both_ways_of_decoding_give_the_same_tokens(recognizer, onnx_model, names):
    streams = make_streams([30, 12, 21])
    given = {name: streams[name] for name in (*names, "valid_BT")}
    memory_BTD = recognizer(given.get("audio_BTF"), given.get("video_BTHW"), given["valid_BT"])
    arrays = onnx_model.encode(**as_arrays(given))
    memory, tokenizer = Memory(memory_BTD, given["valid_BT"]), recognizer.tokenizer
    for method in ("ctc", "attention") if recognizer.decoder else ("ctc",):
        nbest = decode_memory(recognizer, memory, DecodingConfig(method, beam_size=1))
        found = onnx_model.decode(arrays, method=method)
        assert found == [list(one.tokens) for (one,) in nbest] and any(found), method
        texts = onnx_model.transcribe(**as_arrays(given), method=method)
        assert texts == [tokenizer.decode(tokens) for tokens in found]


def test_a_larger_clip_is_cut_at_its_centre(onnx_model):
    streams = as_arrays(make_streams([5]))
    around = np.pad(streams["video_BTHW"], ((0, 0), (0, 0), (3, 3), (4, 4)), constant_values=255)
    found, wanted = onnx_model.encode(**streams | {"video_BTHW": around}), onnx_model.encode(**streams)
    assert np.array_equal(found["memory_BTD"], wanted["memory_BTD"])


def test_an_unknown_method_is_named(onnx_model):
    with pytest.raises(ValueError, match=r"'joint' came, this model decodes with (attention, )?ctc"):
        onnx_model.transcribe(**as_arrays(make_streams([3])), method="joint")
