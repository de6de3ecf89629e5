"""One tiny model of every kind, with random weights."""

from dataclasses import replace

from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig
from avspeech.models.decoder import DecoderConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer
from tests.interop.official import randomize
from tests.models.conftest import TINY
from tests.models.tiny_whisper import make_flamingo, make_whisper


def recognizer(ctc=True, decoder=False, tokenizer=True):
    words = Tokenizer.fit(["pa mo fi su"], "words")
    decoder = DecoderConfig(width=32, depth=1, num_heads=2, ffn_width=48) if decoder else None
    config = RecognizerConfig(replace(TINY, dropout=0.0), decoder, ctc)
    return randomize(Recognizer(config, words.vocab_size, words if tokenizer else None))


KINDS = {
    "recognizer": recognizer,
    "cluster_predictor": lambda: randomize(ClusterPredictor(TINY, 9, head=HeadConfig(16))),
    "whisper": make_whisper,
    "flamingo": make_flamingo,
}
