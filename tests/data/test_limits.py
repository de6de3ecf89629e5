"""What a Whisper cannot take is named by utterance and manifest before anything is loaded."""

import pytest

from avspeech.data.limits import check_crops, check_languages, check_lengths
from avspeech.inputs import InputSpec
from avspeech.manifest import ManifestError, Utterance
from avspeech.text.whisper_tokens import ENGLISH_ONLY, MULTILINGUAL, WhisperTokenizer

pytest.importorskip("whisper", reason="openai-whisper is not installed")


def spoken(language):
    return [Utterance("a", language="el", text="x"), Utterance("b", language=language, text="x")]


def test_every_language_must_be_the_models():
    many, newest = WhisperTokenizer(MULTILINGUAL), WhisperTokenizer(MULTILINGUAL + 1)
    check_languages(spoken("ar"), many, "m.jsonl")
    check_languages(spoken("yue"), newest, "m.jsonl")  # Cantonese came with large-v3
    with pytest.raises(ManifestError, match=r"m\.jsonl: utterance 'b' has language 'yue'; this model knows en, zh"):
        check_languages(spoken("yue"), many, "m.jsonl")
    with pytest.raises(ManifestError, match=r"utterance 'b' has no 'language'.*decoding.detect_language: true"):
        check_languages(spoken(None), many, "m.jsonl")
    check_languages(spoken(None), WhisperTokenizer(ENGLISH_ONLY), "m.jsonl")


def test_a_clip_and_a_text_must_fit_the_positions():
    tokenizer, inputs = WhisperTokenizer(), InputSpec("logmel", 80, longest_s=30.0, longest_text=20)
    check_lengths([Utterance("a", num_frames=750, text="word " * 16)], inputs, tokenizer, "m.jsonl")
    with pytest.raises(ManifestError, match=r"utterance 'a' lasts 30\.04 s.*at most 30 s; .*batches\.longest "):
        check_lengths([Utterance("a", num_frames=751, text="x")], inputs, tokenizer, "m.jsonl")
    with pytest.raises(ManifestError, match=r"text of utterance 'a' has 17 tokens.*room for 16; .*longest_text"):
        check_lengths([Utterance("a", num_frames=750, text="word " * 17)], inputs, tokenizer, "m.jsonl")


def test_mouths_cut_in_two_ways_or_otherwise_than_the_models_are_refused():
    def cut(*crops):
        return [Utterance(f"u{number}", crop=crop) for number, crop in enumerate(crops)]

    assert check_crops(cut(None, "steady", "steady"), None, "m.jsonl") == "steady"
    assert check_crops(cut(None, None), "official", "m.jsonl") is None  # clips from elsewhere
    for crops, model in ((("steady", None, "official"), None), ((None, None, "official"), "steady")):
        with pytest.raises(ManifestError, match=r"'u2' is cut 'official', wanted 'steady'.*--roi.alignment steady"):
            check_crops(cut(*crops), model, "m.jsonl")
