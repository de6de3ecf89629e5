"""Write ``report.html`` and ``report.md`` from results, without decoding.

    python -m avspeech.evaluation.report runs/av/test runs/audio/test --out runs/report --pick '{audio: audio_only}'

Reads   the results of each folder, as ``avspeech.evaluate`` writes them.
Writes  the merged results, report.html (self-contained), report.md, images/ and as many exhibits/ as fit.
"""

import base64
import html
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure

from avspeech.evaluation import plots, tables
from avspeech.evaluation.bars import fault_curves, fault_figure, fault_panels, language_figure, seen_label
from avspeech.evaluation.conditions import CLEAN, noise_label, with_minus
from avspeech.evaluation.exhibits import FOLDER, merge_exhibits
from avspeech.evaluation.provenance import all_facts, describe_intervals, describe_run, warnings_of
from avspeech.evaluation.results import ALL_LANGUAGES, Results, merge_results, read_results, write_results
from avspeech.files import write_text, written_whole

_IMAGES = (".png", ".jpg", ".jpeg")
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".mp3": "audio/mpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class ReportSection:
    """An extra section of a report, such as training curves; every part may be empty."""

    title: str
    text: str = ""
    """Plain paragraphs, separated by empty lines."""
    html: str = ""
    """For report.html only."""
    images: Sequence[tuple[Path, str]] = ()
    """PNG or JPEG files with captions."""
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """(Step, value) points by name, in one plot."""
    x_label: str = "update"
    y_label: str = ""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Dashed lines of the plot by name."""
    first: bool = False
    """Place the section before the results."""


class Picture(NamedTuple):
    """An image as an HTML element, and as a file for Markdown."""

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
    """Write the merged results (see ``merge_results``) and their report; return the path of report.html.

    ``ValueError``: results are missing or cannot be merged, or an image is no PNG or JPEG file.
    """
    folders = [Path(results_dirs)] if isinstance(results_dirs, str | Path) else [Path(one) for one in results_dirs]
    out_dir = Path(out_dir)
    if len(folders) > 1 and out_dir.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"out_dir {out_dir} is one of the folders to merge and would be overwritten; name another")
    results = merge_results([read_results(folder) for folder in folders], pick)
    write_results(out_dir, results)
    images = out_dir / "images"
    images.mkdir(parents=True, exist_ok=True)
    telling, top = tables.telling_noise(results), plots.scale_top(results)
    facts = {
        "title": title,
        "headline": tables.headline(results),
        "tiles": tables.headline_rows(results),
        "plots": {kind: [_keep_figure(images, *one) for one in each] for kind, each in _figures(results).items()},
        "maps": tables.heat_maps(results),
        "legend": plots.heat_legend(top),
        "tables": tables.grid_tables(results),
        "contributions": tables.contribution_tables(results),
        "rule": results.runs[0]["normalization"],
        "bleu_signature": next((run["bleu_signature"] for run in results.runs if "bleu_signature" in run), None),
        "paired": tables.paired_rows(results),
        "telling": telling,
        "samples": tables.sample_transcripts(results, telling),
        "exhibits": merge_exhibits(folders, out_dir, results),
        "results": results,
        "intervals": describe_intervals(results),
        "warnings": warnings_of(results),
        "sections": [(one, _pictures(images, number, one)) for number, one in enumerate(extra_sections)],
        "colours": plots.COLOURS,
    }
    for name in ("report.md", "report.html"):
        layout: Any = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
        loader = PackageLoader("avspeech.evaluation", package_path="")
        escape = name.endswith(".html")
        environment = Environment(loader=loader, autoescape=escape, undefined=StrictUndefined, **layout)
        environment.filters |= _filters(results, top, out_dir / FOLDER)
        write_text(out_dir / name, environment.get_template(f"{name}.jinja").render(facts))
    return out_dir / "report.html"


def _filters(results: Results, top: float, exhibits: Path) -> dict[str, Callable[[Any], Any]]:
    return {
        "percent": lambda fraction: f"{100 * fraction:.1f}",
        "score": lambda score: f"{score:.1f}",
        "points": lambda fraction: with_minus(f"{100 * fraction:+.1f}"),
        "share": lambda share: with_minus(f"{100 * share:.0f}"),
        "decibels": lambda noise: "" if noise[1] is None else with_minus(f"{noise[1]:g}"),
        "noise": lambda noise: noise_label(*noise),
        "p_value": lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}",
        "system": lambda system: tables.system_label(system, results),
        "seen": seen_label,
        "summary": describe_run,
        "everything": all_facts,
        "colour": lambda row: plots.heat_colour(row.wer / top),
        "transcript": lambda exhibit: tables.transcript_of(results, (exhibit.noise, exhibit.snr_db), exhibit.id),
        "inside": lambda name: _data_uri(exhibits / name),
        "paragraphs": lambda text: [part for part in text.split("\n\n") if part.strip()],
        "cell": lambda text: str(text).replace("|", "\\|").replace("\n", " "),
    }


def _figures(results: Results) -> dict[str, list[tuple[str, Figure, str]]]:
    languages, telling = results.languages, tables.telling_noise(results)
    bars = "Bands and bars: 95 % intervals."
    found: dict[str, list[tuple[str, Figure, str]]] = {"wer": [], "by_language": [], "languages": [], "faults": []}
    for noise in dict.fromkeys(noise for noise, _ in results.noises if noise != CLEAN) or [CLEAN]:
        figure = plots.wer_figure({"": results.rows_of(languages[0])}, noise)
        found["wer"].append((f"wer_{_plain(noise)}", figure, f"Word error rate {_over(results, noise)}. {bars}"))
    if languages[0] == ALL_LANGUAGES:
        panels = {language: results.rows_of(language) for language in languages[1:]}
        name = f"wer_{_plain(telling[0])}_by_language"
        caption = f"Word error rate {_over(results, telling[0])}, by language. {bars}"
        found["by_language"].append((name, plots.wer_figure(panels, telling[0]), caption))
        own = [row for rows in panels.values() for row in rows]
        shown = [noise for noise in results.noises if noise in ((CLEAN, None), telling)]
        noisy = [(noise, [row for row in own if row.at == noise]) for noise in shown]
        figure = language_figure(noisy, several_models=len(results.models) > 1)
        found["languages"].append(("languages", figure, f"Word error rate of each language. {bars}"))
    faulty = fault_panels(results)
    for model in dict.fromkeys(panel.model for panel in faulty):
        mine = [panel for panel in faulty if panel.model == model]
        caption = f"Word error rate of {model} by fault of the picture; of faults with a curve only the severest level."
        found["faults"].append((f"faults_{_plain(model)}", fault_figure(mine), f"{caption} {bars}"))
        if (curves := fault_curves(mine)) is not None:
            caption = f"Word error rate of {model} over the level of a fault. Dashed: audio alone. {bars}"
            found["faults"].append((f"fault_curves_{_plain(model)}", curves, caption))
    return found


def _over(results: Results, noise: str) -> str:
    has_snr = any(row.noise == noise and row.snr_db is not None for row in results.conditions)
    return f"over the level of {noise}" if has_snr else "without noise" if noise == CLEAN else f"in {noise}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def _data_uri(path: Path) -> str:
    return f"data:{_MIME[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _pictures(images: Path, number: int, section: ReportSection) -> list[Picture]:
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
        figure = plots.curves_figure(section.curves, section.x_label, section.y_label, section.levels)
        pictures.append(_keep_figure(images, f"section{number}_curves", figure, ""))
    return pictures


def _keep_figure(images: Path, name: str, figure: Figure, caption: str) -> Picture:
    svg = plots.to_svg(figure, name, caption)
    figure.set_layout_engine("none")  # do not repeat the layout, a third of the drawing time
    with written_whole(images / f"{name}.png") as unfinished:
        unfinished.write_bytes(plots.to_png(figure))
    return Picture(svg, f"images/{name}.png", caption)


def main(args: Sequence[str] | None = None) -> None:
    """Parse ``args`` or the command line; ``auto_cli`` has no list of positional arguments."""
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
