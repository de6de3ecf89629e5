"""Tokenizers: text survives the round trip, the numbers are AV-HuBERT's, the config is all there is."""

import io
import json
import pickle

import pytest
import sentencepiece

from avspeech.text.tokenizer import BLANK, BOS, EOS, KINDS, PAD, UNK, Tokenizer
from tests.refusals import raises

TEXTS = [
    "bin blue at f three soon",
    "lay red by a one please",
    "set white in z nine again",
    "place green with q seven now",
    "où est l'été",
    "مَرْحَبًا بِكَ",
    "доброе утро",
]


def make(kind: str) -> Tokenizer:
    return Tokenizer.fit(TEXTS, kind, 60 if kind == "sentencepiece" else None)


@pytest.fixture(params=KINDS)
def tokenizer(request) -> Tokenizer:
    return make(request.param)


def test_texts_come_back(tokenizer):
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        assert all(UNK < token < tokenizer.vocab_size for token in tokens), text
        assert tokenizer.decode(tokens) == text


def test_white_space_and_composition_do_not_matter(tokenizer):
    decomposed = "  ou\u0300  est\tl'e\u0301te\u0301 \n"
    assert tokenizer.encode(decomposed) == tokenizer.encode("où est l'été")


def test_the_config_alone_makes_the_same_tokenizer(tokenizer):
    copy = Tokenizer.from_config(json.loads(json.dumps(tokenizer.to_config())))
    assert copy.vocab_size == tokenizer.vocab_size
    for text in [*TEXTS, "something never seen"]:
        assert copy.encode(text) == (tokens := tokenizer.encode(text))
        assert copy.decode(tokens) == tokenizer.decode(tokens)


def test_a_file_and_a_pickle_hold_it_too(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "deep" / "tokens.json")
    assert Tokenizer.load(tmp_path / "deep" / "tokens.json").to_config() == tokenizer.to_config()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tokens.json"]
    assert pickle.loads(pickle.dumps(tokenizer)).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_the_special_numbers_are_avhuberts_and_never_text(tokenizer):
    assert (BOS, BLANK, PAD, EOS, UNK) == (0, 0, 1, 2, 3)
    assert tokenizer.decode([BOS, *tokenizer.encode(TEXTS[0]), EOS, PAD, PAD]) == TEXTS[0]
    assert (tokenizer.decode([]), tokenizer.encode("")) == ("", [])
    assert not {BOS, PAD, EOS} & set(tokenizer.encode("<s> <pad> </s>"))


def test_what_is_unknown_shows_and_does_not_vanish(tokenizer):
    tokens = tokenizer.encode("bin 你好 blue")
    assert UNK in tokens and "<unk>" in tokenizer.decode(tokens)


def test_fitting_again_or_in_another_order_gives_the_same_numbers(tokenizer):
    assert make(tokenizer.kind).to_config() == tokenizer.to_config()
    if tokenizer.kind != "sentencepiece":
        assert Tokenizer.fit(TEXTS[::-1], tokenizer.kind).to_config() == tokenizer.to_config()


def test_sizes_are_kept():
    assert make("words").vocab_size == 4 + len({word for text in TEXTS for word in text.split()})
    assert make("characters").vocab_size == 4 + len(set("".join(TEXTS)) | {" "})
    assert make("sentencepiece").vocab_size == 60
    frequent = Tokenizer.fit(["a a a b b c"], "words", 6)
    assert (frequent.symbols, frequent.encode("a b c")) == (("a", "b"), [4, 5, UNK])


def test_numbers_out_of_range_are_named_in_the_error(tokenizer):
    for wrong in (tokenizer.vocab_size, -1):
        raises(ValueError, rf"\[{wrong}\] are outside 0..{tokenizer.vocab_size - 1}", tokenizer.decode, [4, wrong])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TEXTS, "letters"), "kind 'letters' came, wanted one of words, characters, sentencepiece"),
        ((["", "  "], "words"), "got no text"),
        ((TEXTS, "words", 4), "vocab_size=4 came"),
        ((TEXTS, "sentencepiece"), "no vocab_size"),
        ((TEXTS, "sentencepiece", 1000), "cannot make 1000 pieces of 7 transcripts.*Please set it to a value"),
        ((TEXTS, "sentencepiece", 5), "cannot make 5 pieces"),
    ],
)
def test_what_cannot_be_fitted_is_named_in_the_error(arguments, message):
    raises(ValueError, message, Tokenizer.fit, *arguments)


def test_parts_that_do_not_belong_together_are_errors(tmp_path):
    raises(ValueError, r"\['a'\] came twice", Tokenizer, "words", ["a", "b", "a"], None)
    raises(ValueError, "parts of another", Tokenizer, "words", [], b"")
    raises(ValueError, "cannot be read", Tokenizer, "sentencepiece", [], b"no model")
    raises(ValueError, "without 'sentencepiece_model'", Tokenizer.from_config, {"kind": "words"})
    for text in ("no json", "[1]", "{}"):
        (tmp_path / "bad.json").write_text(text)
        raises(ValueError, r"bad.json holds no tokenizer", Tokenizer.load, tmp_path / "bad.json")


def test_a_sentencepiece_model_with_other_numbers_is_refused():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=60, character_coverage=1.0, minloglevel=2
    )
    with pytest.raises(ValueError, match=r"= \(1, -1, 2, 0\) came, wanted \(0, 1, 2, 3\)"):
        Tokenizer("sentencepiece", sentencepiece_model=model.getvalue())
