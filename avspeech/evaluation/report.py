"""Results -> ``report.html`` and ``report.md``: plots, the grid, differences, transcripts, and how it was measured.

    python -m avspeech.evaluation.report runs/av/test runs/audio/test --out runs/report --pick '{audio: audio_only}'

Reads   results.json, hypotheses.jsonl and failures.jsonl of each folder, as ``avspeech.evaluate`` writes them.
Writes  the same three files with the rows of all, report.html (one file, everything inside), report.md, images/ and
        the exhibits/ of all (see ``avspeech.evaluation.exhibits``), as many as fit.
Nothing is decoded; run it again whenever the look or the choice of models is to change.
"""

import base64
import html
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from avspeech.evaluation import comparison
from avspeech.evaluation.bars import fault_curves, fault_figure, language_figure
from avspeech.evaluation.comparison import transcript_of
from avspeech.evaluation.conditions import CLEAN, noise_label
from avspeech.evaluation.exhibits import FOLDER, Exhibit, merge_exhibits
from avspeech.evaluation.faults import fault_panels
from avspeech.evaluation.heat_map import column_label, group_label, heat_maps, legend, scale_top
from avspeech.evaluation.plots import COLOURS, curves_figure, to_png, to_svg, wer_figure
from avspeech.evaluation.provenance import describe_intervals, describe_run, warnings_of
from avspeech.evaluation.results import ALL_LANGUAGES, Results, merge_results, read_results, write_results
from avspeech.files import write_text

_IMAGES = (".png", ".jpg", ".jpeg")
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".mp3": "audio/mpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class ReportSection:
    """Something else that a report shows, such as lip crops or training curves; every part may be empty."""

    title: str
    text: str = ""
    """Plain paragraphs, an empty line between two."""
    html: str = ""
    """Put into report.html as it is; report.md leaves it out."""
    images: Sequence[tuple[Path, str]] = ()
    """PNG or JPEG files with captions."""
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """Points (step, value) by name, drawn in one plot."""
    x_label: str = "update"
    y_label: str = ""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Dashed lines to compare the curves with, by name."""
    first: bool = False
    """Stands before the results instead of after them."""


@dataclass(frozen=True)
class Picture:
    """An image as both reports need it: inside the HTML, and as a file beside the Markdown."""

    html: str
    file: str
    caption: str


def write_report(
    results_dirs: str | Path | Sequence[str | Path],
    out_dir: str | Path,
    extra_sections: Sequence[ReportSection] = (),
    pick: Mapping[str, str] | None = None,
    title: str = "Word error rate in noise",
) -> Path:
    """Merge the results of the folders, write them and their report to ``out_dir``, return the path of report.html.

    Args:
        results_dirs: folders that ``avspeech.evaluate`` wrote.
        out_dir: may be the folder itself if there is only one.
        extra_sections: shown as well.
        pick: for a modality, the model whose rows stand for it; see ``merge_results``.
        title: of the page.

    Raises:
        ValueError: a folder holds no results, they cannot be merged, or an image is no PNG or JPEG file.
    """
    folders = [Path(results_dirs)] if isinstance(results_dirs, str | Path) else [Path(one) for one in results_dirs]
    out_dir = Path(out_dir)
    if len(folders) > 1 and out_dir.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"out_dir {out_dir} is one of the folders to merge and would be overwritten; name another")
    results = merge_results([read_results(folder) for folder in folders], pick)
    write_results(out_dir, results)
    images = out_dir / "images"
    images.mkdir(parents=True, exist_ok=True)
    plots = {kind: [_keep_figure(images, *one) for one in figures] for kind, figures in _figures(results).items()}
    sections = [_section(images, number, section) for number, section in enumerate(extra_sections)]
    telling, top = comparison.telling_noise(results), scale_top(results)
    facts = {
        "title": title,
        "headline": comparison.headline(results),
        "tiles": comparison.headline_rows(results),
        "plots": plots,
        "maps": heat_maps(results),
        "legend": legend(top),
        "tables": comparison.grid_tables(results),
        "contributions": comparison.contribution_tables(results),
        "rule": results.runs[0]["normalization"],
        "bleu_signature": next((run["bleu_signature"] for run in results.runs if "bleu_signature" in run), None),
        "paired": comparison.paired_rows(results),
        "telling": telling,
        "samples": comparison.sample_transcripts(results, telling),
        "exhibits": [_exhibit(out_dir, results, one) for one in merge_exhibits(folders, out_dir, results)],
        "results": results,
        "measured": [describe_run(run) for run in results.runs],
        "intervals": describe_intervals(results),
        "warnings": warnings_of(results),
        "before": [section for section in sections if section["first"]],
        "after": [section for section in sections if not section["first"]],
        "colours": COLOURS,
    }
    for name in ("report.md", "report.html"):
        write_text(out_dir / name, _environment(results, name).get_template(f"{name}.jinja").render(facts))
    return out_dir / "report.html"


def _environment(results: Results, name: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("avspeech.evaluation", package_path=""),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}"
    environment.filters["score"] = lambda score: f"{score:.1f}"
    environment.filters["points"] = lambda fraction: f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")
    environment.filters["column"] = column_label
    environment.filters["group"] = group_label
    environment.filters["noise"] = lambda noise: noise_label(*noise)
    environment.filters["p_value"] = lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}"
    environment.filters["share"] = lambda share: f"{100 * share:.0f}".replace("-", "\N{MINUS SIGN}")
    environment.filters["system"] = lambda system: comparison.system_label(system, results)
    environment.filters["paragraphs"] = lambda text: [part for part in text.split("\n\n") if part.strip()]
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment


def _figures(results: Results) -> dict[str, list[tuple[str, Figure, str]]]:
    """Name, figure and caption of each plot, by the section that it stands in."""
    languages = comparison.languages_of(results)
    bars = "Bands and bars: 95 % intervals."
    found: dict[str, list[tuple[str, Figure, str]]] = {"wer": [], "by_language": [], "languages": [], "faults": []}
    for noise in list(dict.fromkeys(row.noise for row in results.conditions if row.noise != CLEAN)) or [CLEAN]:
        what = _over(results, noise)
        rows = comparison.rows_of(results, languages[0])
        found["wer"].append((f"wer_{_plain(noise)}", wer_figure({"": rows}, noise), f"Word error rate {what}. {bars}"))
    if languages[0] == ALL_LANGUAGES:
        telling = comparison.telling_noise(results)
        panels = {language: comparison.rows_of(results, language) for language in languages[1:]}
        name = f"wer_{_plain(telling[0])}_by_language"
        caption = f"Word error rate {_over(results, telling[0])}, by language. {bars}"
        found["by_language"].append((name, wer_figure(panels, telling[0]), caption))
        own = [row for rows in panels.values() for row in rows]
        noises = [noise for noise in comparison.noises_of(results) if noise in ((CLEAN, None), telling)]
        several = len({row.model for row in results.conditions}) > 1
        figure = language_figure([(n, [row for row in own if (row.noise, row.snr_db) == n]) for n in noises], several)
        found["languages"].append(("languages", figure, f"Word error rate of each language. {bars}"))
    panels_of = fault_panels(results)
    for model in dict.fromkeys(panel.model for panel in panels_of):
        mine = [panel for panel in panels_of if panel.model == model]
        caption = f"Word error rate of {model} by what is wrong with the picture; of faults with a curve the severest."
        found["faults"].append((f"faults_{_plain(model)}", fault_figure(mine), f"{caption} {bars}"))
        curves = fault_curves(mine)
        if curves is not None:
            caption = f"Word error rate of {model} over how bad a fault is. Dashed: audio alone. {bars}"
            found["faults"].append((f"fault_curves_{_plain(model)}", curves, caption))
    return found


def _over(results: Results, noise: str) -> str:
    """Return what a plot of one noise shows: its levels, the noise alone, or clean speech."""
    has_snr = any(row.noise == noise and row.snr_db is not None for row in results.conditions)
    return f"over the level of {noise}" if has_snr else "without noise" if noise == CLEAN else f"in {noise}"


def _plain(name: str) -> str:
    """Return a name for files and ids."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def _exhibit(out_dir: Path, results: Results, exhibit: Exhibit) -> dict[str, Any]:
    """What the templates need of an exhibit: its facts, its files inside the page, and what everybody understood."""
    files = {kind: getattr(exhibit, kind) for kind in ("clean", "heard", "seen")}
    inside = {kind: name and _data_uri(out_dir / FOLDER / name) for kind, name in files.items()}
    noise = (exhibit.noise, exhibit.snr_db)
    return {
        "facts": exhibit,
        "noise": noise,
        "inside": inside,
        "links": {kind: f"{FOLDER}/{name}" for kind, name in files.items() if name},
        "words": transcript_of(results, noise, exhibit.id),
    }


def _data_uri(path: Path) -> str:
    return f"data:{_MIME[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _section(images: Path, number: int, section: ReportSection) -> dict[str, Any]:
    pictures = []
    for place, (path, caption) in enumerate(section.images):
        if Path(path).suffix.lower() not in _IMAGES or not Path(path).is_file():
            raise ValueError(f"section {section.title!r}: image {path} must be a PNG or JPEG file that exists")
        kept = images / f"section{number}_{place}{Path(path).suffix.lower()}"
        if kept.resolve() != Path(path).resolve():
            shutil.copyfile(path, kept)
        alt = html.escape(caption or section.title)
        pictures.append(Picture(f'<img alt="{alt}" src="{_data_uri(kept)}">', f"images/{kept.name}", caption))
    if section.curves:
        figure = curves_figure(section.curves, section.x_label, section.y_label, section.levels)
        pictures.append(_keep_figure(images, f"section{number}_curves", figure, ""))
    return {
        "title": section.title,
        "text": section.text,
        "html": section.html,
        "first": section.first,
        "pictures": pictures,
    }


def _keep_figure(images: Path, name: str, figure: Figure, caption: str) -> Picture:
    unfinished = images / f"{name}.part.png"
    svg = to_svg(figure, name, caption)
    figure.set_layout_engine("none")  # it is laid out now, which takes a third of the time of drawing
    unfinished.write_bytes(to_png(figure))
    unfinished.rename(images / f"{name}.png")
    return Picture(svg, f"images/{name}.png", caption)


def main(args: Sequence[str] | None = None) -> None:
    """Parse the command line (or ``args``); an own parser because several folders come without a flag."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Make the report of one or several evaluations again, without decoding.")
    parser.add_argument("results_dirs", type=Path, nargs="+", help="folders that avspeech.evaluate wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--pick", type=dict[str, str] | None, help="the model whose rows stand for a modality")
    parser.add_argument("--title", type=str, default="Word error rate in noise", help="title of the page")
    options = parser.parse_args(args)
    try:
        print(write_report(options.results_dirs, options.out, pick=options.pick, title=options.title))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
