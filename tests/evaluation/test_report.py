"""The report from end to end with a transcriber that needs no model; plots; merging on the command line."""

import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from avspeech.evaluation.config import Scoring
from avspeech.evaluation.plots import curves_figure, ranks_of, spread_apart, to_png, wer_figure
from avspeech.evaluation.report import ReportSection, main, write_report
from avspeech.evaluation.results import merge_results, read_results, write_results
from avspeech.evaluation.tables import contribution_tables, headline, paired_rows, sample_transcripts, telling_noise
from tests.refusals import raises

VOID = {"meta", "link", "br", "img", "hr"}


@pytest.fixture
def folders(tmp_path, evaluate) -> list[Path]:
    """Results of an audio-visual and of an audio-only model."""
    evaluate("av", broken=["en/7"])
    other = {"model_sha256": "audio_only"}
    evaluate("audio_only", broken=["es/1"], model="audio_only", identity=other, modalities=("audio",))
    return [tmp_path / "av", tmp_path / "audio_only"]


def test_report_shows_every_condition_in_one_file(tmp_path, folders):
    page = write_report(folders, tmp_path / "report", pick={"audio": "audio_only"})
    html, markdown = page.read_text(), (tmp_path / "report" / "report.md").read_text()
    for row in read_results(tmp_path / "report").conditions:
        shown = (f"{100 * row.wer:.1f}", f"{100 * row.wer_95[0]:.1f} to {100 * row.wer_95[1]:.1f}")
        assert all(one in text for text in (html, markdown) for one in (row.condition.label, *shown))
    assert html.count("<svg") == 3  # all languages, one with a panel each, and bars by language
    assert balanced(html)
    assert not re.search(r'(src|href)="(?!data:|#)', html), "the page must need nothing but itself"
    assert "MediaError: x.wav: is &lt;b&gt;empty" in html
    assert "<b>" not in html
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        assert (tmp_path / "report" / picture).read_bytes().startswith(b"\x89PNG")
    assert "en/7" in html
    assert "MediaError: x.wav: is <b>empty" in markdown
    assert not list((tmp_path / "report").rglob("*.part*"))
    assert num_tables(markdown) == 3 + 1 + 1 + 1 + 2  # languages, differences, failures, counts, runs
    assert write_report(folders, tmp_path / "again", pick={"audio": "audio_only"}).read_text() == html


@pytest.mark.usefixtures("undrawn")
def test_report_of_one_run_may_lie_beside_its_results(folders):
    before = (folders[0] / "results.json").read_text()
    write_report(folders[0], folders[0])
    assert (folders[0] / "results.json").read_text() == before
    raises(ValueError, "would be overwritten; name another", write_report, folders, folders[0])


@pytest.mark.slow
def test_extra_sections_are_shown(tmp_path, folders):
    picture = tmp_path / "lips.png"
    picture.write_bytes(to_png(curves_figure({}, "", "")))
    curves = {"masked accuracy": [(0, 0.1), (10, 0.4)]}
    sections = [
        ReportSection("Lip crops", text="Cut from mp4 files.\n\nAll <grey>.", images=[(picture, "Eight")], first=True),
        ReportSection("Pre-training", html="<p id='own'>own</p>", curves=curves, levels={"majority class": 0.2}),
    ]
    html = write_report(folders[0], tmp_path / "report", sections).read_text()
    markdown = (tmp_path / "report" / "report.md").read_text()
    for text in (html, markdown):
        assert text.index("Lip crops") < text.index("Word error rate\n" if text is markdown else "<h2>Word error")
        assert text.index("Pre-training") > text.index("Transcripts, babble 0 dB")
    for shown in ("All &lt;grey&gt;.", "data:image/png;base64,", "<p id='own'>own</p>"):
        assert shown in html
    assert html.count("<svg") == 4 and balanced(html)
    for shown in ("![Eight](images/section0_0.png)", "![Pre-training](images/section1_curves.png)"):
        assert shown in markdown
    with pytest.raises(ValueError, match=r"section 'Lips': image .*absent\.png must be a PNG"):
        write_report(folders[0], tmp_path / "report", [ReportSection("Lips", images=[(tmp_path / "absent.png", "")])])


@pytest.mark.usefixtures("undrawn")
def test_clean_only_and_one_language_make_a_report(tmp_path, utterances, evaluate):
    evaluate(words=utterances[:5], modalities=("audio", "video"), noises={}, snrs_db=())
    html = write_report(tmp_path, tmp_path).read_text()
    assert html.count("<svg") == 1
    assert "In clean speech" in html
    assert "What lips add" not in html


@pytest.mark.usefixtures("undrawn")
def test_other_videos_have_a_table_of_their_own_and_change_no_other(tmp_path, evaluate):
    pages = []
    for streams in (("own",), ("own", "blank", "shuffled")):
        results = evaluate(video_streams=streams)
        pages.append((write_report(tmp_path, tmp_path).read_text(), (tmp_path / "report.md").read_text()))
    assert balanced(pages[1][0])
    for plain, with_others in zip(*(map(parts, page) for page in pages), strict=True):
        assert set(with_others) - set(plain) == {"Modality contribution"}
        same = set(plain) - {"The whole grid", "How it was measured", ""}  # the head has a link more
        assert len(same) >= 4
        assert all(plain[title] == with_others[title] for title in same)
    tables = contribution_tables(results)
    assert [(table.model, table.language) for table in tables] == [("av", "all"), ("av", "en"), ("av", "es")]
    labels = ["audio+video, own video", "audio+video, blank video", "audio+video, shuffled video", "audio alone"]
    for table in tables:
        assert [line.label for line in table.lines] == labels
        for line in table.lines:
            assert [(cell.noise, cell.snr_db) for cell in line.cells] == table.columns
            modality = line.label.split()[0].strip(",")
            assert {(cell.language, cell.modality) for cell in line.cells} == {(table.language, modality)}
    own, blank, shuffled, sound = (line.cells[-1].wer for line in tables[0].lines)
    assert [label for label, _ in tables[0].removed] == ["own video", "blank video", "shuffled video"]
    assert [shares[-1] for _, shares in tables[0].removed] == [1 - wer / sound for wer in (own, blank, shuffled)]
    assert own < blank < shuffled
    for cell in tables[0].lines[1].cells:
        assert f"{100 * cell.wer:.1f} ({100 * cell.wer_95[0]:.1f} to" in pages[1][1]


@pytest.mark.usefixtures("undrawn")
def test_contributions_stand_beside_the_picked_models_audio(tmp_path, evaluate, folders):
    evaluate("streams", model="both", modalities=("audio+video",), video_streams=("own", "blank"))
    write_report([tmp_path / "streams", folders[1]], tmp_path / "report")
    (table, *_) = contribution_tables(read_results(tmp_path / "report"))
    labels = ["audio+video, own video", "audio+video, blank video", "audio alone (audio_only)"]
    assert [line.label for line in table.lines] == labels


@pytest.mark.usefixtures("undrawn")
def test_bleu_is_reported_with_its_signature_and_the_rule_of_normalisation_is_named(tmp_path, evaluate):
    results = evaluate(scoring=Scoring("muavic", "bleu"))
    html, markdown = write_report(tmp_path, tmp_path).read_text(), (tmp_path / "report.md").read_text()
    assert balanced(html)
    for text in (html, markdown):
        assert "nrefs:1|case:mixed|eff:no|tok:13a" in text.replace("\\|", "|")
        for row in results.conditions:
            assert f"{row.bleu:.1f}" in text and f"{row.bleu_95[0]:.1f} to {row.bleu_95[1]:.1f}" in text
    assert "normalised by the rule <i>muavic</i>" in html
    assert "normalised by the rule `muavic`" in markdown
    assert re.match(r"In babble at 0 dB, BLEU is \d+\.\d from sound alone, ", headline(results))
    assert num_tables(markdown) == 3 + 3 + 1 + 1 + 1  # error rates, BLEU, differences, counts, run


def test_differences_pair_the_utterances_that_both_have(folders):
    both = merge_results([read_results(folder) for folder in folders])
    rows = paired_rows(both)
    assert len(rows) == 3 * 4  # audio+video against two audio models and video, in four noises
    dedicated = {row.noise: row for row in rows if row.b == ("audio", "audio_only")}
    assert all(row.n_utterances == 38 for row in dedicated.values())  # each model has one broken clip
    noisy = dedicated["babble", -5.0]
    assert noisy.verdict == "better" and noisy.difference.low < noisy.difference.diff < noisy.difference.high < 0
    lines = [line for line in both.hypotheses if line.snr_db == -5.0 and line.id not in ("en/7", "es/1")]
    ours, theirs = ([line for line in lines if (line.modality, line.model) == system] for system in (noisy.a, noisy.b))
    words = sum(len(line.reference.split()) for line in ours)
    errors = sum(line.errors for line in ours) - sum(line.errors for line in theirs)
    assert noisy.difference.diff == pytest.approx(errors / words)
    assert dedicated["none", None].verdict == "no clear difference"


def test_headline_and_samples_are_from_the_noise_nearest_zero(folders):
    results = read_results(folders[0])
    assert telling_noise(results) == ("babble", 0.0)
    wer = {row.modality: row.wer for row in results.conditions if (row.snr_db, row.language) == (0.0, "all")}
    assert headline(results) == (
        f"In babble at 0 dB, the word error rate is {100 * wer['audio']:.1f} % from sound alone, "
        f"{100 * wer['video']:.1f} % from lips alone, {100 * wer['audio+video']:.1f} % from sound and lips."
    )
    samples = sample_transcripts(results, ("babble", 0.0), count=6)
    assert len({sample.id for sample in samples}) == 6
    assert all([system[0] for system, _ in sample.heard] == ["audio", "video", "audio+video"] for sample in samples)


def test_lines_of_a_plot_are_the_systems_of_its_noise(folders):
    rows = [row for folder in folders for row in read_results(folder).conditions if row.language == "all"]
    found = [(*system, rank) for system, rank in ranks_of(rows).items()]
    assert found == [("audio", "av", 0), ("audio", "audio_only", 1), ("video", "av", 0), ("audio+video", "av", 0)]
    (axis,) = wer_figure({"": rows}, "babble").axes
    assert [len(line.get_xdata()) for line in axis.lines if line.get_marker() in "osD"] == 4 * [3, 1]  # SNRs, clean


@pytest.mark.filterwarnings("error")
def test_a_noise_without_an_snr_is_not_clean(tmp_path, folders):
    results = read_results(folders[0])
    rooms, lines = (
        [replace(one, noise="hall", snr_db=None) for one in several if one.snr_db == 10]
        for several in (results.conditions, results.hypotheses)
    )
    both = replace(results, conditions=[*rooms, *results.conditions], hypotheses=[*lines, *results.hypotheses])
    assert both.noises == [("none", None), ("hall", None), ("babble", 10.0), ("babble", 0.0), ("babble", -5.0)]
    assert telling_noise(both) == ("hall", None)
    assert headline(both).startswith("In hall, the word error rate is ")
    (axis,) = wer_figure({"": both.rows_of("all")}, "hall").axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["hall", "clean"]
    assert axis.get_xticks()[0] < axis.get_xticks()[1]
    write_results(tmp_path, both)
    assert write_report(tmp_path, tmp_path).read_text().count("<svg") == 4  # a plot more
    assert "Word error rate over the level of" in (tmp_path / "report.md").read_text()


@pytest.mark.filterwarnings("error")
def test_plots_have_a_panel_a_language_and_end_where_rates_are_far_above_one(folders):
    rows = read_results(folders[0]).rows_of("all")
    figure = wer_figure(dict.fromkeys("abcd", rows), "babble")  # three panels, and one below
    assert struct.unpack(">II", to_png(figure)[16:24]) == (2430, 1290)
    figure = wer_figure({"": [replace(row, wer=6.0, wer_95=(5.5, 6.5)) for row in rows]}, "babble")
    assert figure.axes[0].get_ylim()[1] == 150
    assert struct.unpack(">II", to_png(figure)[16:24]) == (1140, 645)


def test_labels_keep_their_distance_and_stay_inside():
    rng = np.random.default_rng(0)
    for _ in range(200):
        places = spread_apart(sorted(rng.uniform(0, 100, rng.integers(1, 8)).tolist()), gap=6, low=0, high=100)
        assert all(b - a >= 6 - 1e-9 for a, b in pairwise(places))
        assert 0 <= min(places) <= max(places) <= 100
    assert spread_apart([10, 50, 90], gap=6, low=0, high=100) == [10, 50, 90]
    assert spread_apart([20, 20], gap=6, low=0, high=100) == [17, 23]


@pytest.mark.usefixtures("undrawn")
def test_command_line_merges_folders(tmp_path, folders, capsys):
    args = [*map(str, folders), "--out", str(tmp_path / "r"), "--pick"]
    main([*args, "{audio: audio_only}"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "r" / "report.html")
    assert {row.model for row in read_results(tmp_path / "r").conditions if row.modality == "audio"} == {"audio_only"}
    raises(SystemExit, "1", main, [*args, "{audio: nobody}"])
    assert capsys.readouterr().err.startswith("pick: model 'nobody' has no 'audio' rows")
    raises(SystemExit, "1", main, [str(folders[0]), "--out", str(tmp_path / "r" / "report.md")])
    assert re.fullmatch(r"out_dir .*report\.md cannot be made a folder: .*; name another\n", capsys.readouterr().err)


@pytest.mark.slow
def test_names_from_elsewhere_are_drawn_and_name_no_file_elsewhere(tmp_path, evaluate):
    results = evaluate()
    strange = [replace(row, noise="../../rain" if row.snr_db is not None else "none") for row in results.conditions]
    others = [replace(row, model="1$ model \\frac$") for row in strange]  # a formula to matplotlib
    runs = [*results.runs, results.runs[0] | {"model": others[0].model}]
    write_results(tmp_path / "in", replace(results, conditions=[*strange, *others], runs=runs, hypotheses=[]))
    write_report(tmp_path / "in", tmp_path / "deep" / "out")
    drawn = {path.name for path in (tmp_path / "deep" / "out" / "images").iterdir()}
    assert drawn == {"wer__rain.png", "wer__rain_by_language.png", "languages.png"}


def num_tables(markdown: str) -> int:
    """Count the tables, whose rows must have equally many cells."""
    tables = re.findall(r"(?:^\|.*\|\n)+", markdown, flags=re.MULTILINE)
    for table in tables:
        assert len({line.count("|") - line.count("\\|") for line in table.splitlines()}) == 1, table
    return len(tables)


def parts(text: str) -> dict[str, str]:
    """Sections by their titles, what stands before the first by ""."""
    titles = re.split(r"<h2>(.*?)</h2>|^## (.*)$", text, flags=re.MULTILINE)
    found = {"": titles[0]}
    for place in range(1, len(titles), 3):
        found[titles[place] or titles[place + 1]] = re.sub(r"</section>.*", "", titles[place + 2], flags=re.DOTALL)
    return found


def balanced(html: str) -> bool:
    """Whether every tag is closed by its own."""
    opened, wrong = [], []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: None if tag in VOID else opened.append(tag)
    parser.handle_startendtag = lambda tag, attrs: None
    parser.handle_endtag = lambda tag: wrong.append(tag) if not opened or opened.pop() != tag else None
    parser.feed(html)
    return not opened and not wrong
