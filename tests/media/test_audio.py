"""Sound comes at 16 kHz, each sample at its place in time."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from avspeech.media.audio import read_audio, write_wav
from avspeech.media.resampling import Resampler
from avspeech.media.video import read_frames, write_video
from tests.media.conftest import encode, picture_of, sound_frame, write


def click(length: int, at: int | slice) -> np.ndarray:
    sound_S = np.zeros(length, np.float32)
    sound_S[at] = 0.9
    return sound_S


def centre(audio_S: np.ndarray) -> float:
    """Return the sample in the middle of the sound's energy."""
    energy_S = audio_S.astype(float) ** 2
    return (energy_S * np.arange(len(energy_S))).sum() / energy_S.sum()


def flash(path: Path) -> int:
    return next(i for i, frame in enumerate(read_frames(path)) if frame.mean() > 128)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("at_s", [0.0, 0.2, 0.74])
def test_a_click_lands_on_its_sample(rate, at_s, tmp_path):
    samples_SC = np.zeros((rate, 1), np.int16)
    samples_SC[round(at_s * rate)] = 30_000
    wavfile.write(tmp_path / "click.wav", rate, samples_SC)
    audio_S = read_audio(tmp_path / "click.wav")
    assert (audio_S.dtype, len(audio_S)) == (np.float32, 16_000)
    assert np.abs(audio_S).argmax() == round(at_s * 16_000)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_click_in_a_video_is_heard_as_its_frame_is_shown(name, rate, tmp_path):
    sound_S = click(2 * rate, slice(rate, rate + rate // 1000))  # one millisecond, at 1 s
    pictures = [picture_of(255 if k >= 25 else 0) for k in range(50)]
    write(tmp_path / name, pictures, range(50), Fraction(1, 25), audio_S=sound_S, audio_rate=rate)
    centre_s = centre(read_audio(tmp_path / name)) / 16_000
    if name == "a.ts":  # its AAC starts one packet of silence before the picture, and so does time
        assert abs(flash(tmp_path / name) / 25 - (centre_s - 0.0005)) <= 0.021
    else:
        assert flash(tmp_path / name) == 25
        assert abs(centre_s - 1.0005) < 0.001


def test_late_sound_is_preceded_by_zeros(tmp_path):
    sound = {"audio_S": click(48_000, 4800), "audio_codec": "pcm_s16le", "audio_start_s": Fraction(2, 5)}
    write(tmp_path / "late.mkv", [picture_of(0)] * 40, range(40), Fraction(1, 25), **sound)
    audio_S = read_audio(tmp_path / "late.mkv")
    assert np.abs(audio_S).argmax() == pytest.approx(8000, abs=1)
    assert not audio_S[: int(0.39 * 16_000)].any()


def test_sound_before_a_late_video_counts_from_the_sound(tmp_path):
    pictures = [picture_of(255 if k >= 7 else 0) for k in range(20)]
    sound = {"audio_S": click(48_000, 24_000), "audio_codec": "pcm_s16le"}
    write(tmp_path / "late.mkv", pictures, range(5, 25), Fraction(1, 25), **sound)
    assert flash(tmp_path / "late.mkv") == 12
    assert np.abs(read_audio(tmp_path / "late.mkv")).argmax() == pytest.approx(8000, abs=1)


def test_a_gap_in_time_is_filled_with_zeros(tmp_path):
    """Lost packets must not pull the rest of the sound forward."""
    with av.open(str(tmp_path / "gap.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", 16_000, layout="mono")
        starts = [*range(0, 8000, 800), *range(12_000, 16_000, 800)]
        encode(
            container, stream, [sound_frame(np.full((1, 800), 8000, np.int16), "s16", pts=start) for start in starts]
        )
    audio_S = read_audio(tmp_path / "gap.mkv")
    assert len(audio_S) == 16_000 and not audio_S[8000:12_000].any()
    assert (audio_S[:8000] > 0.2).all() and (audio_S[12_000:] > 0.2).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_sample_formats_have_the_same_level(dtype, tmp_path):
    wave_S = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    scaled = wave_S * 2.0 ** (8 * np.dtype(dtype).itemsize - 1) + (128 if dtype == np.uint8 else 0)
    wavfile.write(tmp_path / "tone.wav", 16_000, np.round(scaled).astype(dtype))
    np.testing.assert_allclose(read_audio(tmp_path / "tone.wav"), wave_S, atol=0.006)


def test_stereo_is_the_mean_and_never_clips(tmp_path):
    samples_SC = np.random.default_rng(0).integers(-32_768, 32_767, (16_000, 2)).astype(np.int16)
    wavfile.write(tmp_path / "stereo.wav", 16_000, samples_SC)
    expected_S = samples_SC.astype(np.float64).mean(axis=1) / 32_768
    np.testing.assert_allclose(read_audio(tmp_path / "stereo.wav"), expected_S, atol=1e-6)


def test_six_channels_keep_the_voice_and_drop_the_bass(tmp_path):
    with av.open(str(tmp_path / "51.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", 16_000, layout="5.1")
        samples_SC = np.tile(np.array([0, 0, 10_000, 20_000, 0, 0], np.int16), (16_000, 1))  # centre, low effects
        encode(container, stream, [sound_frame(samples_SC.reshape(1, -1), "s16", "5.1")])
    expected = 10_000 / 32_768 / (1 + 2 * 0.7071 + 2 * 0.5)
    np.testing.assert_allclose(read_audio(tmp_path / "51.wav"), expected, rtol=1e-3)


def resample(audio_S: np.ndarray, rate: int) -> np.ndarray:
    resampler = Resampler()
    return np.concatenate([*resampler.write(0, audio_S, rate), *resampler.finish()])


def test_speech_band_passes_and_the_rest_does_not_alias():
    time_S = np.arange(48_000) / 48_000
    kept_S = resample(np.sin(2 * np.pi * 3000 * time_S).astype(np.float32), 48_000)[1000:-1000]
    folded_S = resample(np.sin(2 * np.pi * 11_000 * time_S).astype(np.float32), 48_000)[1000:-1000]
    assert np.sqrt((kept_S**2).mean()) == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert np.sqrt((folded_S**2).mean()) < 0.003  # -47 dB


def test_wav_round_trip_is_within_half_a_step(tmp_path):
    audio_S = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    write_wav(tmp_path / "x.wav", audio_S)
    np.testing.assert_allclose(read_audio(tmp_path / "x.wav"), audio_S, atol=1.01 / 2**15)


def test_written_video_plays_its_sound_in_sync(tmp_path):
    write_video(tmp_path / "x.mp4", [np.full((64, 64), 90, np.uint8)] * 50, click(32_000, slice(12_800, 12_816)))
    audio_S = read_audio(tmp_path / "x.mp4")
    assert centre(audio_S) == pytest.approx(12_808, abs=16) and 32_000 <= len(audio_S) <= 32_000 + 2048


@pytest.mark.parametrize("layout", ["5.1", "7.1", "hexadecagonal"])
def test_eight_planes_and_more_are_read(layout, tmp_path):
    """PyAV once read past the last of eight planes: any mp4 with 7.1 sound ended the process."""
    name = tmp_path / ("s.mp4" if layout != "hexadecagonal" else "s.wv")
    sound_S = (0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.float32)
    with av.open(str(name), "w") as container:
        stream = container.add_stream("aac" if name.suffix == ".mp4" else "wavpack", 48_000, layout=layout)
        stream.bit_rate = 512_000
        kind = stream.codec_context.format.name
        packed_S = np.repeat(sound_S, stream.codec_context.layout.nb_channels)[None]
        shape = av.AudioResampler(format=kind, layout=layout, rate=48_000, frame_size=1024)
        frame = sound_frame(packed_S, "flt", layout, 48_000)
        encode(container, stream, [*shape.resample(frame), *shape.resample(None)])
    audio_S = read_audio(name)
    assert len(audio_S) == pytest.approx(16_000, abs=400)
    assert audio_S[4000:12_000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
