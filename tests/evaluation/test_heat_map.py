"""The map of the grid: every row has its cell, its colour, and nothing stands where nothing was evaluated."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from avspeech.evaluation.plots import TOPS, heat_colour, heat_legend, scale_top
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import Results
from avspeech.evaluation.tables import heat_maps
from avspeech.noise.spec import NoiseSpec


@pytest.fixture
def results(evaluate) -> Results:
    noises = {"babble": NoiseSpec("babble"), "white": NoiseSpec("white")}
    seen = {"video_streams": ("own", "blank", "blur-3", "offset+80"), "video_streams_at": ("clean", "babble -5")}
    return evaluate(noises=noises, snrs_db=(5.0, -5.0), **seen)


def test_every_row_of_the_results_is_one_cell(results):
    maps = heat_maps(results)
    assert [(one.model, one.language) for one in maps] == [("av", "all"), ("av", "en"), ("av", "es")]
    cells = [cell for one in maps for line in one.lines for cell in line.cells if cell is not None]
    assert len(cells) == len(results.conditions) and set(cells) == set(results.conditions)
    assert all(one.groups == [("none", 1), ("babble", 2), ("white", 2)] for one in maps)
    placed = [pair for one in maps for line in one.lines for pair in zip(line.cells, one.columns, strict=True)]
    assert all(cell is None or (cell.noise, cell.snr_db) == noise for cell, noise in placed)


def test_lines_stand_by_modality_and_own_video_first(results):
    first = heat_maps(results)[0]
    assert [(line.label, line.video_stream) for line in first.lines] == [
        ("audio", "own"), ("video", "own"), ("video", "blur-3"),
        ("audio+video", "own"), ("audio+video", "blank"), ("audio+video", "blur-3"), ("audio+video", "offset+80"),
    ]  # fmt: skip
    assert [cell is not None for cell in first.lines[-1].cells] == [True, False, True, False, False]


def test_colours_darken_evenly_and_can_be_read():
    def luminance(hex_colour: str) -> float:  # CIE Y
        parts = [int(hex_colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def lightness(hex_colour: str) -> float:  # CIE L*
        y = luminance(hex_colour)
        return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y

    steps = [lightness(heat_colour(step / 20)[0]) for step in range(21)]
    falls = [a - b for a, b in pairwise(steps)]
    assert min(falls) > 0
    assert max(falls) < 2.5 * min(falls)
    for step in range(101):
        background, ink = heat_colour(step / 100)
        darker, lighter = sorted((luminance(background), 1.0 if ink == "#ffffff" else 0.0))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (step, background, ink)  # WCAG 2, AA
    assert heat_colour(-1) == heat_colour(0)
    assert heat_colour(7) == heat_colour(1)


def test_one_scale_reaches_over_all_rows(results):
    assert max(row.wer for row in results.conditions) <= scale_top(results) in TOPS
    assert scale_top(replace(results, conditions=[replace(row, wer=3.0) for row in results.conditions])) == 1.0
    assert heat_legend(1.0)[1] == ["0", "25", "50", "75", "100+"]
    assert heat_legend(0.2)[1] == ["0", "5", "10", "15", "20"]
    assert heat_legend(0.2)[0][0] == heat_colour(0)[0]


@pytest.mark.usefixtures("undrawn")
def test_the_map_is_a_table_of_the_page(tmp_path, results):
    html = write_report(tmp_path, tmp_path).read_text()
    tables = re.findall(r'<table class="heat">.*?</table>', html, flags=re.DOTALL)
    assert len(tables) == 3
    top = scale_top(results)
    for table, one in zip(tables, heat_maps(results), strict=True):
        shown = re.findall(r'<td style="background:(#\w{6});color:(#\w{6})" title="([^"]*)">([\d.]+)</td>', table)
        cells = [cell for line in one.lines for cell in line.cells if cell is not None]
        for (background, ink, title, rate), cell in zip(shown, cells, strict=True):
            assert (background, ink) == heat_colour(cell.wer / top)
            assert rate == f"{100 * cell.wer:.1f}"
            assert f"{rate} %, 95 % interval {100 * cell.wer_95[0]:.1f} to {100 * cell.wer_95[1]:.1f}; " in title
        assert table.count('class="absent"') == sum(cell is None for line in one.lines for cell in line.cells)
        assert table.count('<th scope="row"') == len(one.lines)
    assert 'title="audio+video, offset +80 ms, babble -5 dB: ' in html
    assert 'aria-label="audio+video, blank video"' in html
