"""Speech and visemes: repeatable, in time, lips shut where they must be."""

import itertools
import time
from math import ceil

import numpy as np
import pytest

from data_prep.synthetic.espeak import Espeak, Event, Synthesis, Voice
from data_prep.synthetic.motion import mouth_trajectory, viseme_labels
from data_prep.synthetic.speaker import SETS, VARIANTS
from data_prep.synthetic.speech import MARGIN_S, Phone, closure_of, phones_of, say
from data_prep.synthetic.texts import COMMANDS, LANGUAGES, read_sentences, reference_of
from data_prep.synthetic.visemes import MOUTH, NAMES, OPEN, split_ipa
from tests.refusals import raises


@pytest.fixture(scope="module")
def espeak():
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed (extra [synthetic])")
    with Espeak() as running:
        yield running


def rng():
    return np.random.default_rng(0)


def test_same_text_gives_same_bytes_whatever_came_before_and_whatever_the_clock(espeak):
    time.sleep(1.1)  # seconds seed the breath noise of f5 where nothing else does
    for text, voice in (("move two blue boxes now", Voice("m3")), ("carry some purple boxes", Voice("f5"))):
        first = espeak.speak(text, "en", voice)
        espeak.speak("otra cosa muy distinta", "es", Voice("f2", 180, 60))
        with Espeak() as other:
            repetitions = espeak.speak(text, "en", voice), other.speak(text, "en", voice)
        for repeated in repetitions:
            np.testing.assert_array_equal(first.pcm, repeated.pcm)
            assert first.events == repeated.events


def test_every_listed_variant_exists_and_no_two_sets_share_one(espeak):
    heard = {}
    for part in SETS:
        for variant in itertools.chain(*VARIANTS[part].values()):
            pcm = espeak.speak("now", "en", Voice(variant)).pcm.tobytes()
            assert pcm not in heard, f"{variant} of {part} sounds like {heard.get(pcm)}"
            heard[pcm] = f"{variant} of {part}"


def test_bad_requests_are_refused_and_the_process_lives_on(espeak):
    raises(ValueError, "no variant 'zzz'", say, espeak, "now", "en", Voice("zzz"), rng())
    raises(ValueError, "no voice 'xx", say, espeak, "now", "xx", Voice("m1"), rng())
    raises(ValueError, "expected a text with letters", say, espeak, "...", "en", Voice("m1"), rng())
    assert espeak.speak("now", "en", Voice("m1")).pcm.any()


def test_a_closed_process_says_what_is_wrong(espeak):
    closed = Espeak()
    closed.close()
    raises(RuntimeError, "espeak-ng process", closed.speak, "now", "en", Voice("m1"))


def test_a_missing_loader_names_its_extra(monkeypatch):  # without espeak-ng too
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    raises(ImportError, r"pip install 'avspeech\[synthetic\]'", Espeak)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_lie_in_the_clip_in_order_and_match_the_reference(espeak, language):
    for text in read_sentences(language)[:6]:
        speech = say(espeak, text, language, Voice("f2"), rng())
        seconds = len(speech.audio_S) / 16_000
        assert len(speech.audio_S) == 640 * speech.num_frames
        assert [word.text for word in speech.words] == reference_of(text, language).split()
        edges = [edge for word in speech.words for edge in (word.start_s, word.end_s)]
        assert edges == sorted(edges)
        assert edges[0] == pytest.approx(MARGIN_S, abs=1e-3)
        assert MARGIN_S - 2e-3 <= seconds - edges[-1] < MARGIN_S + 0.042
        assert min(word.end_s - word.start_s for word in speech.words) > 0.02


def test_margins_are_quiet_and_words_are_loud(espeak):
    speech = say(espeak, "move two blue boxes now", "en", Voice("m1"), rng())

    def level(start_s, end_s):
        return np.sqrt(np.mean(speech.audio_S[int(start_s * 16e3) : int(end_s * 16e3)] ** 2))

    assert level(0, MARGIN_S - 0.03) < 1e-3
    assert min(level(word.start_s, word.end_s) for word in speech.words) > 0.02
    assert np.abs(speech.audio_S).max() <= 0.951


def test_pairs_said_as_one_word_share_its_time(espeak):
    words = say(espeak, "four of the boxes", "en", Voice("m1"), rng()).words
    assert [word.text for word in words] == ["four", "of", "the", "boxes"]
    assert words[1].end_s == words[2].start_s < words[2].end_s == words[3].start_s


def test_language_switches_are_no_phones(espeak):
    text = "Das Baby hat fast drei Stunden geschlafen."
    spoken = espeak.speak(text, "de", Voice("m3"))
    assert any("(" in event.ipa for event in spoken.events), "the sentence no longer makes espeak-ng switch"
    baby = [phone.viseme for phone in phones_of(spoken, text, "de") if phone.word == 1]
    assert baby[0] == "PBM" and len(baby) <= 5, f"'Baby' starts with the letters of a switch: {baby}"


def test_marks_and_switches_are_dropped_and_diphthongs_split():
    for mark, language in (("(en)", "ru"), ("(en-us", "de"), ("ʲ", "ru")):  # the second is cut at eight bytes
        assert split_ipa(mark, language) == []
    assert split_ipa("ˈaʊ", "en") == [("a", "A"), ("ʊ", "U")] and split_ipa("ɐ̃ʊ̃", "pt") == [("ɐ", "A"), ("ʊ", "U")]
    assert split_ipa("ˈy", "ru") == [("y", "I")] and split_ipa("ˈy", "fr") == [("y", "Y")]


def test_voiceless_stops_close_before_their_burst_and_voiced_ones_at_their_start():
    events = (Event("word", 0.0, "", 0), Event("phone", 0.0, "a", 0), Event("phone", 0.2, "p", 0))
    events += (Event("phone", 0.25, "a", 0), Event("phone", 0.4, "b", 0), Event("phone", 0.47, "a", 0))
    phones = phones_of(Synthesis(np.zeros(22050, np.int16), 22050, events), "apaba", "es")
    p, b = (phone for phone in phones if phone.viseme == "PBM")
    assert phones[0].end_s == p.start_s == pytest.approx(0.145)
    assert closure_of(p) == pytest.approx((0.145, 0.21))
    assert closure_of(b) == pytest.approx((0.4, 0.465))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_bilabial_shuts_the_lips_in_some_frame(espeak, language):
    bilabials = 0
    for rate, text in itertools.product((140, 190), read_sentences(language)[:8]):
        speech = say(espeak, text, language, Voice("m3", rate), rng())
        mouth_TF = mouth_trajectory(speech.phones, speech.num_frames, rng())
        assert np.isfinite(mouth_TF).all() and mouth_TF[:, OPEN].max() > 0.7
        time_T = (np.arange(speech.num_frames) + 0.5) / 25
        for phone in (one for one in speech.phones if one.viseme == "PBM"):
            start_s, end_s = closure_of(phone)
            shut = mouth_TF[(time_T >= start_s) & (time_T <= end_s), OPEN]
            assert len(shut) and (shut == 0).all(), (text, phone)
            bilabials += 1
    assert bilabials > 10


def test_lips_are_shut_while_a_voiceless_bilabial_is_silent(espeak):
    for text in ("una copa para el papa", "la capa de pepe"):
        speech = say(espeak, text, "es", Voice("m3"), rng())
        level_T = np.sqrt(np.mean(speech.audio_S.reshape(-1, 160) ** 2, axis=1))  # per 10 ms
        mouth_TF = mouth_trajectory(speech.phones, speech.num_frames, rng())
        closures = [phone for phone in speech.phones if phone.ipa == "p"]
        assert len(closures) >= 3
        for phone in closures:
            silent = level_T[ceil((phone.start_s + 0.02) * 100) : int((phone.start_s + 0.05) * 100)]
            assert silent.max() < 0.01 < level_T.max() / 5
            frame = int((phone.start_s + 0.03) * 25)
            assert mouth_TF[frame - 1 : frame + 2, OPEN].min() == 0


def test_neighbours_colour_a_vowel():
    def width_of_a(neighbour):
        x, y = Phone("x", neighbour, 0.2, 0.3, 0), Phone("x", neighbour, 0.38, 0.5, 0)
        return mouth_trajectory([x, Phone("a", "A", 0.3, 0.38, 0), y], 16, rng())[8, MOUTH.index("width")]

    assert width_of_a("U") < width_of_a("TDN") - 0.05


def test_viseme_labels_follow_the_phones():
    phones = [Phone("a", "A", 0.08, 0.16, 0), Phone("m", "PBM", 0.16, 0.2, 0)]
    assert [NAMES[label] for label in viseme_labels(phones, 6)] == ["SIL", "SIL", "A", "A", "PBM", "SIL"]


def looks_apart(one_TF, other_TF):
    """Mean distance per frame of two mouth trajectories after dynamic time warping; 1 is plainly visible."""
    columns = [MOUTH.index(name) for name in ("open", "width", "press", "upper_teeth", "tuck")]
    scale = np.array((0.5, 0.15, 0.5, 0.5, 0.5))
    one, other = one_TF[:, columns] / scale, other_TF[:, columns] / scale
    step = np.linalg.norm(one[:, None] - other[None], axis=-1)
    cost = np.pad([[0.0]], ((0, len(one)), (0, len(other))), constant_values=np.inf)
    for i, j in np.ndindex(step.shape):
        cost[i + 1, j + 1] = step[i, j] + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    return cost[-1, -1] / np.sqrt(len(one) * len(other))


@pytest.mark.parametrize("language", COMMANDS)
def test_no_two_commands_of_a_slot_look_alike(espeak, language):
    for slot, choices in enumerate(COMMANDS[language]):
        seen = {}
        for choice in choices:
            words = [choice if at == slot else others[0] for at, others in enumerate(COMMANDS[language])]
            speech = say(espeak, " ".join(words), language, Voice("m3"), rng())
            mouth_TF, word = mouth_trajectory(speech.phones, speech.num_frames, rng()), speech.words[slot]
            seen[choice] = mouth_TF[int(word.start_s * 25) : ceil(word.end_s * 25)]
        for one, other in itertools.combinations(choices, 2):
            assert looks_apart(seen[one], seen[other]) > 0.6, f"{one} and {other} look alike"
