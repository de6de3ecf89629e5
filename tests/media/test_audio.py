"""Sound comes at 16 kHz, each sample at its place in time."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio, resample, write_wav
from avspeech.media.video import read_frames, write_video


def write_pcm(path: Path, samples_SC: np.ndarray, rate: int) -> None:
    """Write a wav by the standard library: uint8, int16 or int32 samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples_SC.shape[1])
        file.setsampwidth(samples_SC.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(samples_SC.tobytes())


def peak_s(audio_S: np.ndarray) -> float:
    return int(np.abs(audio_S).argmax()) / 16_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("at_s", [0.0, 0.2, 0.74])
def test_a_click_lands_on_its_sample(rate, at_s, tmp_path):
    samples_SC = np.zeros((rate, 1), np.int16)
    samples_SC[round(at_s * rate)] = 30_000
    write_pcm(tmp_path / "click.wav", samples_SC, rate)
    audio_S = read_audio(tmp_path / "click.wav")
    assert audio_S.dtype == np.float32
    assert len(audio_S) == 16_000
    assert np.abs(audio_S).argmax() == round(at_s * 16_000)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_click_in_a_video_is_heard_as_its_frame_is_shown(name, rate, tmp_path, write, picture_of):
    sound_S = np.zeros(2 * rate, np.float32)
    sound_S[rate : rate + rate // 1000] = 0.9  # one millisecond, at 1 s
    pictures = [picture_of(255 if k >= 25 else 0) for k in range(50)]
    write(tmp_path / name, pictures, range(50), Fraction(1, 25), audio_S=sound_S, audio_rate=rate)
    audio_S = read_audio(tmp_path / name)
    flash = next(i for i, frame in enumerate(read_frames(tmp_path / name)) if frame.mean() > 128)
    energy_S = audio_S.astype(float) ** 2
    centre_s = (energy_S * np.arange(len(audio_S))).sum() / energy_S.sum() / 16_000
    if name == "a.ts":  # its AAC starts one packet of silence before the picture, and so does time
        assert abs(flash / 25 - (centre_s - 0.0005)) <= 0.021
    else:
        assert flash == 25
        assert abs(centre_s - 1.0005) < 0.001


def test_late_sound_is_preceded_by_zeros(tmp_path, write, picture_of):
    click_S = np.zeros(48_000, np.float32)
    click_S[4800] = 0.9
    write(
        tmp_path / "late.mkv", [picture_of(k) for k in range(40)], range(40), Fraction(1, 25),
        audio_S=click_S, audio_codec="pcm_s16le", audio_start_s=Fraction(2, 5),
    )  # fmt: skip
    audio_S = read_audio(tmp_path / "late.mkv")
    assert peak_s(audio_S) == pytest.approx(0.5, abs=1 / 16_000)
    assert not audio_S[: int(0.39 * 16_000)].any()


def test_sound_before_a_late_video_counts_from_the_sound(tmp_path, write, picture_of):
    click_S = np.zeros(48_000, np.float32)
    click_S[24_000] = 0.9
    pictures = [picture_of(255 if k >= 7 else 0) for k in range(20)]
    write(
        tmp_path / "late.mkv", pictures, [k + 5 for k in range(20)], Fraction(1, 25),
        audio_S=click_S, audio_codec="pcm_s16le",
    )  # fmt: skip
    flash = next(i for i, frame in enumerate(read_frames(tmp_path / "late.mkv")) if frame.mean() > 128)
    assert flash == 12
    assert peak_s(read_audio(tmp_path / "late.mkv")) == pytest.approx(0.5, abs=1 / 16_000)


def test_a_gap_in_time_is_filled_with_zeros(tmp_path):
    """Lost packets must not pull the rest of the sound forward."""
    with av.open(str(tmp_path / "gap.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", 16_000, layout="mono")
        for start in [*range(0, 8000, 800), *range(12_000, 16_000, 800)]:
            chunk_S = np.full((1, 800), 8000, np.int16)
            frame = av.AudioFrame.from_ndarray(chunk_S, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio_S = read_audio(tmp_path / "gap.mkv")
    assert len(audio_S) == 16_000
    assert not audio_S[8000:12_000].any()
    assert (audio_S[:8000] > 0.2).all()
    assert (audio_S[12_000:] > 0.2).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_sample_formats_have_the_same_level(dtype, tmp_path):
    wave_S = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    scaled = wave_S * 2.0 ** (8 * np.dtype(dtype).itemsize - 1) + (128 if dtype == np.uint8 else 0)
    write_pcm(tmp_path / "tone.wav", np.round(scaled).astype(dtype)[:, None], 16_000)
    np.testing.assert_allclose(read_audio(tmp_path / "tone.wav"), wave_S, atol=0.006)


def test_stereo_is_the_mean_and_never_clips(tmp_path):
    rng = np.random.default_rng(0)
    samples_SC = rng.integers(-32_768, 32_767, (16_000, 2)).astype(np.int16)
    write_pcm(tmp_path / "stereo.wav", samples_SC, 16_000)
    expected_S = samples_SC.astype(np.float64).mean(axis=1) / 32_768
    np.testing.assert_allclose(read_audio(tmp_path / "stereo.wav"), expected_S, atol=1e-6)


def test_six_channels_keep_the_voice_and_drop_the_bass(tmp_path):
    with av.open(str(tmp_path / "51.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", 16_000, layout="5.1")
        samples_SC = np.zeros((16_000, 6), np.int16)
        samples_SC[:, 2] = 10_000  # front centre
        samples_SC[:, 3] = 20_000  # low frequency effects
        frame = av.AudioFrame.from_ndarray(samples_SC.reshape(1, -1), format="s16", layout="5.1")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio_S = read_audio(tmp_path / "51.wav")
    expected = 10_000 / 32_768 / (1 + 2 * 0.7071 + 2 * 0.5)
    np.testing.assert_allclose(audio_S, expected, rtol=1e-3)


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
    sound_S = np.zeros(32_000, np.float32)
    sound_S[12_800:12_816] = 0.9
    write_video(tmp_path / "x.mp4", [np.full((64, 64), 90, np.uint8)] * 50, sound_S)
    audio_S = read_audio(tmp_path / "x.mp4")
    energy_S = audio_S.astype(float) ** 2
    assert (energy_S * np.arange(len(energy_S))).sum() / energy_S.sum() == pytest.approx(12_808, abs=16)
    assert 32_000 <= len(audio_S) <= 32_000 + 2048


@pytest.mark.parametrize("layout", ["5.1", "7.1", "hexadecagonal"])
def test_eight_planes_and_more_are_read(layout, tmp_path):
    """PyAV once read past the last of eight planes: any mp4 with 7.1 sound ended the process."""
    name = tmp_path / ("s.mp4" if layout != "hexadecagonal" else "s.wv")
    sound_S = (0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.float32)
    with av.open(str(name), "w") as container:
        stream = container.add_stream("aac" if name.suffix == ".mp4" else "wavpack", 48_000, layout=layout)
        stream.bit_rate = 512_000
        kind = stream.codec_context.format.name
        channels = stream.codec_context.layout.nb_channels
        packed_S = np.ascontiguousarray(np.repeat(sound_S, channels)[None])
        frame = av.AudioFrame.from_ndarray(packed_S, format="flt", layout=layout)
        frame.sample_rate = 48_000
        shape = av.AudioResampler(format=kind, layout=layout, rate=48_000, frame_size=1024)
        for piece in (*shape.resample(frame), *shape.resample(None)):
            piece.pts = None
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    audio_S = read_audio(name)
    assert len(audio_S) == pytest.approx(16_000, abs=400)
    assert audio_S[4000:12_000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
