"""Graphs of a Whisper with lips give what torch gives, at sizes that the export never saw."""

import numpy as np
import pytest
import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import decode_memory
from avspeech.decoding.whisper import detect_languages
from avspeech.export.runtime import Decoding, OnnxModel
from tests.export.tiny_exports import LIMIT, MODALITIES, as_arrays, largest_share
from tests.models.tiny_whisper import valid_until
from tests.refusals import raises

pytestmark = pytest.mark.slow  # the four graphs take half a minute to export
SIZES_TRIED = [[1], [2], [7, 4], [12, 12, 5], [15, 1, 9, 3, 14]]
"""Frames at 25 Hz of the clips of a batch; the export saw two clips of three."""


def make_streams(lengths, seed=1, odd=0):
    """Return log-mel, its mask, lip clips and theirs; the audio ``odd`` acoustic frames short of four a frame."""
    generator = torch.Generator().manual_seed(seed)
    batch, frames = len(lengths), max(lengths)
    valid_BA = valid_until([4 * length - odd for length in lengths], 4 * frames - odd)
    logmel_BAF = torch.randn(batch, 4 * frames - odd, 8, generator=generator)
    video_BTHW = torch.randint(0, 256, (batch, frames, 24, 24), generator=generator, dtype=torch.uint8)
    streams = {"logmel_BAF": torch.where(valid_BA[..., None], logmel_BAF, 0), "valid_BA": valid_BA}
    return streams | {"video_BTHW": video_BTHW, "valid_BT": valid_until(lengths, frames)}


def fed(model, memory, tokens_BL):
    return Decoding(model, memory).feed(np.asarray(tokens_BL))


@pytest.fixture(scope="module")
def onnx_model(flamingo_folder):
    return OnnxModel.open(flamingo_folder, threads=1)


@pytest.mark.parametrize("odd", [0, 1, 3])
@pytest.mark.parametrize("lengths", SIZES_TRIED, ids=str)
@torch.no_grad()
def test_encoders_give_what_torch_gives(flamingo, onnx_model, lengths, odd):
    streams = make_streams(lengths, odd=odd)
    wanted, found = flamingo.encode_streams(**streams), onnx_model.encode(**as_arrays(streams))
    valid_BP, valid_BT = wanted.valid_BT.numpy(), wanted.video_valid_BT.numpy()
    assert np.array_equal(found["valid_BP"], valid_BP)
    assert largest_share(found["audio_BPD"][valid_BP], wanted.memory_BTD.numpy()[valid_BP]) < LIMIT
    assert largest_share(found["video_BTD"][valid_BT], wanted.video_BTD.numpy()[valid_BT]) < LIMIT


@pytest.mark.parametrize("keep_2", MODALITIES, ids=str)
@pytest.mark.parametrize("lengths", SIZES_TRIED, ids=str)
@torch.no_grad()
def test_a_prompt_and_single_steps_give_what_torch_gives(flamingo, onnx_model, lengths, keep_2):
    streams = make_streams(lengths)
    keep_B2 = torch.tensor([keep_2] * len(lengths))
    tokens_BL = torch.randint(0, 51_865, (len(lengths), 9))
    state = flamingo.decoder.start(flamingo.encode_streams(**streams, keep_B2=keep_B2), 20)
    decoding = Decoding(onnx_model, onnx_model.encode(**as_arrays(streams), keep_B2=keep_B2.numpy()))
    for first, end in ((0, 1), (1, 4), (4, 5), (5, 6), (6, 9)):
        wanted = flamingo.decoder.step(tokens_BL[:, first:end], state, last_only=False)
        assert largest_share(decoding.feed(tokens_BL[:, first:end].numpy()), wanted) < LIMIT


@torch.no_grad()
def test_streams_may_be_missing_for_some_or_not_come_at_all(flamingo, onnx_model):
    streams, keep_B2 = make_streams([6, 4, 5]), torch.tensor(MODALITIES)
    tokens_BL = torch.randint(0, 51_865, (3, 3))
    cases = [(streams, keep_B2)]
    cases += [({name: streams[name] for name in names}, None) for names in (list(streams)[:2], list(streams)[2:])]
    for given, keep in cases:
        full = dict.fromkeys(["logmel_BAF", "valid_BA", "video_BTHW", "valid_BT"]) | given
        state = flamingo.decoder.start(flamingo.encode_streams(**full, keep_B2=keep), 20)
        memory = onnx_model.encode(**as_arrays(given), keep_B2=None if keep is None else keep.numpy())
        wanted = flamingo.decoder.step(tokens_BL, state, last_only=False)
        assert largest_share(fed(onnx_model, memory, tokens_BL), wanted) < LIMIT


def test_padding_and_dropped_streams_cannot_be_seen(onnx_model):
    streams = as_arrays(make_streams([9, 9]))
    keep_B2 = np.array([[True, False], [True, True]])
    clean = fed(onnx_model, onnx_model.encode(**streams, keep_B2=keep_B2), np.full((2, 3), 7))
    streams["valid_BA"][1, 20:] = False
    streams["valid_BT"][1, 5:] = False
    alone = {name: part[1:, : 20 if name.endswith(("BAF", "BA")) else 5] for name, part in streams.items()}
    streams["logmel_BAF"][1, 20:] = 99
    streams["video_BTHW"][1, 5:] = 255
    streams["video_BTHW"][0] = 255
    found = fed(onnx_model, onnx_model.encode(**streams, keep_B2=keep_B2), np.full((2, 3), 7))
    alone = fed(onnx_model, onnx_model.encode(**alone), np.full((1, 3), 7))
    assert np.array_equal(found[0], clean[0])
    assert largest_share(found[1], alone[0]) < 1e-5


@pytest.mark.parametrize("languages", [["en", "de", "es"], None], ids=["given", "detected"])
@pytest.mark.parametrize("keep_2", MODALITIES, ids=str)
@torch.no_grad()
def test_greedy_decoding_gives_the_same_tokens(flamingo, onnx_model, keep_2, languages):
    streams, keep_B2 = make_streams([15, 8, 11]), torch.tensor([keep_2] * 3)
    memory = flamingo.encode_streams(**streams, keep_B2=keep_B2)
    wanted = decode_memory(flamingo, memory, DecodingConfig(temperatures=(0.0,)), languages or ())
    arrays = onnx_model.encode(**as_arrays(streams), keep_B2=keep_B2.numpy())
    found = onnx_model.decode(arrays, languages)
    assert found == [list(one[0].tokens) for one in wanted] and all(found)
    assert [onnx_model.text(tokens) for tokens in found] == [one[0].text for one in wanted]
    assert onnx_model.detect_languages(arrays) == detect_languages(flamingo, memory)[0]
    given = as_arrays(streams) | {"keep_B2": keep_B2.numpy()}
    assert onnx_model.transcribe(**given, languages=languages) == [one[0].text for one in wanted]


def test_a_text_neither_begins_with_its_end_nor_holds_what_is_never_spoken(onnx_model, monkeypatch):
    tokens, logits_V = onnx_model.config["tokens"], np.zeros(51_865, np.float32)
    logits_V[500], logits_V[tokens["end"]] = 1, 2
    logits_V[tokens["suppressed_at_start"]] = 2
    logits_V[tokens["suppressed"]] = 3
    monkeypatch.setattr(Decoding, "feed", lambda self, tokens_BL: np.tile(logits_V, (*tokens_BL.shape, 1)))
    memory = onnx_model.encode(**as_arrays(make_streams([3, 2])))
    logits_V[tokens["suppressed_at_start"][0]] = 1.5  # the blank may come later, but the end is likelier
    assert onnx_model.decode(memory, ["en", "en"]) == [[500], [500]]


def test_what_a_model_cannot_use_is_refused_in_words(onnx_model):
    streams = as_arrays(make_streams([3, 3]))
    raises(ValueError, "at least one stream", onnx_model.encode)
    keep_B2, lips = np.eye(2, dtype=bool) & [True, False], np.ones((2, 3, 24, 24), np.float32)
    raises(ValueError, "left without a stream that this model uses", onnx_model.encode, **streams, keep_B2=keep_B2)
    raises(ValueError, "xx are not this model's", onnx_model.transcribe, **streams, languages=["en", "xx"])
    raises(ValueError, "float32, 24x24 came, wanted uint8", onnx_model.encode, video_BTHW=lips)
