"""Faults of the picture in the report: which rows stand beside each other, what has a bar and what a curve."""

import struct
from dataclasses import replace

import pytest

from avspeech.evaluation import bars
from avspeech.evaluation.bars import fault_curves, fault_panels, language_figure
from avspeech.evaluation.plots import to_png, to_svg
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import Results

STREAMS = ("own", "blank", "blur-1", "blur-3", "blur-5", "drop-50", "offset-80", "offset+40", "offset+160", "no_face")


@pytest.fixture
def results(evaluate) -> Results:
    return evaluate(snrs_db=(0.0, -5.0), video_streams=STREAMS, video_streams_at=("clean", "babble -5"))


def test_each_place_has_its_faults_and_what_they_are_compared_with(results):
    panels = fault_panels(results)
    places = [("audio+video", ("none", None)), ("audio+video", ("babble", -5.0)), ("video", ("none", None))]
    assert [(one.modality, one.noise) for one in panels] == places
    for panel in panels:
        wanted = STREAMS[2:] if panel.modality == "audio+video" else STREAMS[2:6]
        assert tuple(row.video_stream for row in panel.rows) == wanted
        assert {(row.modality, row.noise, row.snr_db, row.language) for row in (*panel.rows, panel.own)} == {
            (panel.modality, *panel.noise, "all")
        }
        assert panel.own.video_stream == "own"
        assert (panel.audio is None) == (panel.modality == "video")
        if panel.audio:
            assert (panel.audio.modality, panel.audio.noise, panel.audio.snr_db) == ("audio", *panel.noise)
            assert next(row.wer for row in panel.rows if row.video_stream == "no_face") == panel.audio.wer


def test_levels_make_a_curve_and_only_the_severest_a_bar(results):
    panels = fault_panels(results)
    assert bars.kinds_with_curves(panels) == ["blur", "offset"]
    labels = [fault.label for fault in bars.bar_faults(panels)]
    assert labels == ["blur-5", "drop-50", "offset-80", "offset+160", "no_face"]


def test_faults_have_names_for_people():
    streams = ("own", "blank", "pixel_noise-3", "drop-50", "offset-80", "no_face")
    assert [bars.seen_label(stream) for stream in streams] == [
        "own video", "blank video", "pixel noise 3", "drop 50 %", "offset −80 ms", "no face",
    ]  # fmt: skip


@pytest.mark.slow
def test_figures_are_drawn_and_reported(tmp_path, results):
    panels = fault_panels(results)
    width, height = struct.unpack(">II", to_png(bars.fault_figure(panels))[16:24])
    assert width > 1500 and height > 350
    assert to_svg(fault_curves(panels), "curves", "a < b").startswith('<svg role="img" aria-label="a &lt; b"')
    assert fault_curves(panels[2:]) is not None
    rows = [row for language in ("en", "es") for row in results.rows_of(language)]
    by_noise = [(n, [row for row in rows if (row.noise, row.snr_db) == n]) for n in results.noises[:2]]
    figure = language_figure(by_noise, False)
    assert [len(axis.containers) // 2 for axis in figure.axes] == [3, 3]  # bars and their whiskers, of three systems
    of_two = [
        (n, [*some, *(replace(row, model=f"{row.model} of a long name") for row in some)]) for n, some in by_noise
    ]
    for one in (fault_curves(panels), figure, language_figure(of_two, True)):
        one.draw_without_rendering()
        box = one.legends[0].get_window_extent()
        assert one.bbox.x0 <= box.x0 < box.x1 <= one.bbox.x1, "the legend is cut"
    html = write_report(tmp_path, tmp_path).read_text()
    assert 'id="faults"' in html
    assert 'id="languages"' in html
    assert "images/fault_curves_av.png" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_without_faults_there_is_no_section(tmp_path, evaluate):
    assert fault_panels(evaluate()) == []
    assert fault_curves([]) is None
    assert "Faults of the picture" not in write_report(tmp_path, tmp_path).read_text()
