"""Noises of a conditions YAML: what is understood, and which key a mistake is reported under."""

from pathlib import Path

import pytest

from avspeech.noise.spec import NoiseSpec, parse_noise


def test_every_kind_is_read():
    assert parse_noise("noises.b", {"kind": "babble", "num_voices": 30}) == NoiseSpec("babble", num_voices=(30, 30))
    assert parse_noise("noises.m", {"kind": "musan", "path": "m", "part": "music", "split": "valid"}) == NoiseSpec(
        "musan", path=Path("m"), part="music", split="valid"
    )
    hall = parse_noise("noises.h", {"kind": "reverb", "impulse_responses": "rirs"})
    assert hall == NoiseSpec("reverb", impulse_responses=Path("rirs"))
    assert not hall.has_snr and NoiseSpec("white", impulse_responses=Path("rirs")).has_snr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rain"}, r"noises\.n\.kind='rain' must be one of babble, talker"),
        ({}, r"noises\.n\.kind is missing"),
        ("white", r"noises\.n='white' must be keys with values"),
        ({"kind": "white", "voices": 3}, r"noises\.n\.voices is no known key"),
        ({"kind": "white", "manifest": "a"}, r"noises\.n\.manifest='a' has no use with kind=white"),
        ({"kind": "babble", "path": "a"}, r"noises\.n\.path='a' has no use with kind=babble"),
        ({"kind": "file", "path": "a", "manifest": "b"}, r"noises\.n\.path='a' and manifest='b' came; give one"),
        ({"kind": "musan", "path": "a"}, r"noises\.n\.part=None must be one of noise, music, speech, babble"),
        ({"kind": "musan", "part": "noise", "split": "dev"}, r"noises\.n\.split='dev' must be one of train"),
        ({"kind": "white", "part": "x"}, r"noises\.n\.part='x' has no use with kind=white"),
        ({"kind": "talker", "num_voices": 2}, r"noises\.n\.num_voices=\[2, 2\] has no use with kind=talker"),
        ({"kind": "babble", "num_voices": [3, 2]}, r"noises\.n\.num_voices=\[3, 2\] must be \[fewest, most\]"),
        ({"kind": "babble", "num_voices": True}, r"noises\.n\.num_voices=True must be one whole number"),
        ({"kind": "babble", "test_speakers": "maybe"}, r"noises\.n\.test_speakers='maybe' must be one of exclude"),
        ({"kind": "reverb"}, r"noises\.n\.impulse_responses is missing"),
        ({"kind": "reverb", "impulse_responses": 3}, r"noises\.n\.impulse_responses=3 must be a path"),
    ],
)
def test_a_mistake_names_its_key(values, message):
    with pytest.raises(ValueError, match=message):
        parse_noise("noises.n", values)
