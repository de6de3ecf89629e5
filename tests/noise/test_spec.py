"""Noises as a YAML describes them: what is understood, and which key a mistake is reported under."""

from dataclasses import replace
from pathlib import Path

import pytest

from avspeech.noise.spec import OLD_KEYS, NoiseConfig, NoiseSpec
from avspeech.train import main


def test_every_kind_has_its_settings():
    assert NoiseSpec("babble", num_voices=30) == NoiseSpec("babble", num_voices=(30, 30))
    music = NoiseSpec("musan", path=Path("m"), part="music")
    assert [replace(music, split=split).settings()["split"] for split in (None, "train")] == ["test", "train"]
    assert NoiseSpec("musan", part="babble").is_babble and not music.is_babble
    assert not NoiseSpec("reverb", impulse_responses=Path("rirs")).has_snr
    assert NoiseSpec("white", impulse_responses=Path("rirs")).has_snr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rain"}, r"kind='rain' must be one of babble, talker"),
        ({"kind": "white", "manifest": Path("a")}, r"manifest='a' has no use with kind=white"),
        ({"kind": "babble", "path": Path("a")}, r"path='a' has no use with kind=babble"),
        ({"kind": "file", "path": Path("a"), "manifest": Path("b")}, r"path='a' and manifest='b' came; give one"),
        ({"kind": "musan", "path": Path("a")}, r"part=None must be one of noise, music, speech, babble"),
        ({"kind": "musan", "part": "noise", "split": "dev"}, r"split='dev' must be one of train"),
        ({"kind": "white", "part": "x"}, r"part='x' has no use with kind=white"),
        ({"kind": "folder", "part": "x"}, r"part='x' has no use with kind=folder"),
        ({"kind": "talker", "num_voices": 2}, r"num_voices=\[2, 2\] has no use with kind=talker"),
        ({"kind": "babble", "num_voices": (3, 2)}, r"num_voices=\[3, 2\] must be \[fewest, most\]"),
        ({"kind": "babble", "num_recordings": 2}, r"num_recordings=2 has no use with kind=babble"),
        ({"kind": "file", "num_recordings": 0}, r"num_recordings=0 must be at least 1"),
        ({"kind": "babble", "test_speakers": "maybe"}, r"test_speakers='maybe' must be one of exclude"),
        ({"kind": "reverb"}, r"impulse_responses is missing"),
        ({"probability": 1.5}, "noise.probability=1.5"),
        ({"snr_db": (5, -5)}, r"noise.snr_db=\(5, -5\)"),
        ({"snr_db": (5, 500)}, r"noise.snr_db\[1\]=500 must be a number from -100 to 100"),
        ({"noises": {}}, "noise.noises is empty"),
        ({"rule": "avhubert", "level": "active"}, "level='active' does not go with rule='avhubert'"),
    ],
)
def test_a_mistake_in_a_noise_or_in_that_of_training_names_its_key(values, message):
    with pytest.raises(ValueError, match=message):
        (NoiseSpec if "kind" in values else NoiseConfig)(**values)


def noise_of_toy(folder, noise):
    (folder / "noise.yaml").write_text(f"data: {{init_args: {{noise: {noise}}}}}")
    configs = ["configs/pretrain/toy.yaml", "configs/data/toy.yaml", folder / "noise.yaml"]
    return main([f"--config={path}" for path in configs], run=False).datamodule.noise


def test_a_training_yaml_names_noises_in_the_words_of_a_test(tmp_path):
    hall, music = "{kind: white, impulse_responses: rirs}", "{kind: musan, part: music, path: data/musan}"
    assert noise_of_toy(tmp_path, f"{{probability: 0.5, noises: {{hall: {hall}, music: {music}}}}}").noises == {
        "hall": NoiseSpec("white", impulse_responses=Path("rirs")),
        "music": NoiseSpec("musan", part="music", path=Path("data/musan")),
    }


def test_the_noise_of_the_papers_composes_with_a_run():
    configs = ["pretrain/toy", "data/toy", "pretrain/variants/noise", "noise/musan"]
    noise = main([f"--config=configs/{name}.yaml" for name in configs], run=False).datamodule.noise
    assert (noise.probability, noise.snr_db) == (0.25, (0, 0))
    assert [spec.part or spec.kind for spec in noise.noises.values()] == ["noise", "music", "babble", "talker"]


@pytest.mark.parametrize("old", OLD_KEYS)
def test_an_old_key_of_a_training_yaml_names_the_new_one(tmp_path, capsys, old):
    with pytest.raises(SystemExit):
        noise_of_toy(tmp_path, f"{{{old if ': ' in old else f'{old}: 3'}}}")
    assert f"noise.{old} is now {OLD_KEYS[old]}" in capsys.readouterr().err
