"""The report in headless Chromium, from its one file and without a network: everything loads, plays and fits."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_transcriber import IDENTITY, Buzz, FakeTranscriber

from avspeech.evaluation.config import EvaluationConfig
from avspeech.evaluation.exhibits import write_exhibits
from avspeech.evaluation.grid import evaluate_grid
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.report import ReportSection, write_report
from avspeech.evaluation.results import write_results
from avspeech.inputs import InputSpec
from avspeech.manifest import Utterance, read_manifest
from avspeech.noise.spec import NoiseSpec
from tests.chromium import Tab, needs_chromium

pytestmark = needs_chromium
FAULTS = ("blur-1", "blur-3", "blur-5", "drop-50", "offset-80", "offset+80", "wrong_speaker", "no_face")


@pytest.fixture(scope="module")
def page_file(corpus, tmp_path_factory) -> Path:
    """A report with everything that a report can have, alone in its folder."""
    clips = read_manifest(corpus / "test.jsonl")
    many = [replace(clips[i % 4], id=f"c{i}", language=("en", "es")[i % 2], speaker=f"s{i % 3}") for i in range(12)]
    config = EvaluationConfig(
        noises={"babble": NoiseSpec("babble"), "white": NoiseSpec("white")},
        snrs_db=(10.0, 5.0, 0.0, -5.0, -10.0),
        video_streams=("own", "blank", "shuffled", *FAULTS),
        video_streams_at=("clean", "babble 0"),
    )
    folder = tmp_path_factory.mktemp("results")
    utterances = [*many, Utterance("broken", text="set red now", language="en")]
    results = evaluate_grid(utterances, config, FakeTranscriber(broken=["broken"]), folder, "av", IDENTITY)
    write_results(folder, results)
    write_exhibits(folder, results, many, ConditionLoader(Buzz(), inputs=InputSpec(clip_size=32)))
    section = ReportSection("Training", curves={"loss": [(0, 1.0), (10, 0.5)]})
    alone = tmp_path_factory.mktemp("alone") / "report.html"
    shutil.copyfile(write_report(folder, folder, [section]), alone)
    return alone


class Opened(Tab):
    """The page from its file, which alone it may ask for; what its console says counts as wrong."""

    def __init__(self, browser, file: Path, width: int, javascript: bool = True) -> None:
        options = {"java_script_enabled": javascript, "offline": True}
        super().__init__(browser, lambda url: url == file.as_uri(), width, 900, **options)
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.goto(file.as_uri(), wait_until="load")


@pytest.fixture(params=(390, pytest.param(1280, marks=pytest.mark.slow)), ids=lambda width: f"{width}px")
def opened(request, browser, page_file) -> Iterator[Opened]:
    opened = Opened(browser, page_file, request.param)
    yield opened
    opened.context.close()


def check_everything_loads(opened: Opened) -> tuple[list[dict], list[dict]]:
    """Check that every sound, clip and plot loads and nothing is asked of a network; return media and pictures."""
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.wait_for_function(
        "[...document.querySelectorAll('audio, video')].every(one => one.readyState >= 2 || one.error)", timeout=20_000
    )
    media = page.evaluate(
        "[...document.querySelectorAll('audio, video')].map(one => ({tag: one.tagName, ready: one.readyState,"
        " seconds: one.duration, error: one.error && one.error.message, width: one.videoWidth}))"
    )
    for one in media:
        assert one["error"] is None and one["ready"] >= 2 and one["seconds"] > 0.3, one
        assert one["tag"] == "AUDIO" or one["width"] > 0, one
    pictures = page.evaluate(
        "[...document.querySelectorAll('svg, img')].map(one => ({tag: one.tagName, box: one.getBoundingClientRect(),"
        " complete: one.tagName !== 'IMG' || (one.complete && one.naturalWidth > 0)}))"
    )
    for one in pictures:
        assert one["complete"] and one["box"]["width"] > 100 and one["box"]["height"] > 50, one
    assert opened.asked == []
    assert opened.errors == []
    return media, pictures


def test_plots_sounds_and_clips_load_from_the_one_file(opened, page_file):
    media, pictures = check_everything_loads(opened)
    assert [one["tag"] for one in media].count("AUDIO") == 12  # clean and noisy of six
    assert [one["width"] for one in media if one["tag"] == "VIDEO"] == [32] * 6
    assert len(pictures) == 7  # two noises, by language twice, faults, their curves, the section's
    assert opened.page.evaluate(
        "(() => { const ids = [...document.querySelectorAll('[id]')].map(one => one.id);"
        " return ids.length === new Set(ids).size; })()"
    ), "two elements have the same id"
    assert page_file.stat().st_size < 3_000_000


def test_nothing_is_wider_than_the_screen(opened):
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    sticking_out = page.evaluate(
        "[...document.body.querySelectorAll('*')].filter(one => !one.closest('.wide, svg, script')"
        " && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map(one => one.outerHTML.slice(0, 120))"
    )
    assert sticking_out == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for wide in page.query_selector_all(".wide"):
        box = wide.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]


def test_the_clip_follows_its_sound(browser, page_file):
    opened = Opened(browser, page_file, 1280)
    page = opened.page
    page.evaluate("document.querySelector('.exhibit audio').play()")
    page.wait_for_function("!document.querySelector('.exhibit video').paused", timeout=10_000)
    page.evaluate("document.querySelectorAll('.exhibit audio')[2].play()")  # another utterance's: the first one stops
    page.wait_for_function("document.querySelector('.exhibit audio').paused", timeout=10_000)
    page.wait_for_function("document.querySelector('.exhibit video').paused", timeout=10_000)
    assert opened.errors == []
    opened.context.close()


def test_all_of_it_can_be_read_without_scripts(browser, page_file):
    opened = Opened(browser, page_file, 1280, javascript=False)
    page = opened.page
    page.locator("summary", has_text="Every condition").click()
    assert page.locator("#conditions table").is_visible()
    assert page.locator("table.heat").first.is_visible()
    assert page.locator(".exhibit video").first.get_attribute("controls") is not None
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    printed = page.pdf()
    assert printed.startswith(b"%PDF") and len(printed) > 50_000
    assert opened.asked == []
    opened.context.close()


def test_the_network_guard_works(browser, page_file, tmp_path):
    spoilt = tmp_path / "report.html"
    spoilt.write_text(page_file.read_text().replace("</h1>", '</h1><img src="https://example.org/a.png">', 1))
    opened = Opened(browser, spoilt, 1280)
    opened.page.wait_for_timeout(200)
    assert opened.asked or any("Content Security Policy" in text for text in opened.errors), opened.errors
    opened.context.close()
