"""Results -> ``report.html`` and ``report.md``: plots, the grid, differences, transcripts, and how it was measured.

    python -m avspeech.evaluation.report runs/av/test runs/audio/test --out runs/report --pick '{audio: audio_only}'

Reads   results.json, hypotheses.jsonl and failures.jsonl of each folder, as ``avspeech.evaluate`` writes them.
Writes  the same three files with the rows of all, report.html (one file, everything inside), report.md and images/.
Nothing is decoded; run it again whenever the look or the choice of models is to change.
"""

import base64
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from avspeech.evaluation import comparison
from avspeech.evaluation.conditions import CLEAN, noise_label
from avspeech.evaluation.plots import COLOURS, curves_figure, to_png, to_svg, wer_figure
from avspeech.evaluation.results import ALL_LANGUAGES, Results, merge_results, read_results, write_results, write_text

_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


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
    plots = [_keep_figure(images, name, figure, caption) for name, figure, caption in _wer_figures(results)]
    sections = [_section(images, number, section) for number, section in enumerate(extra_sections)]
    facts = {
        "title": title,
        "headline": comparison.headline(results),
        "plots": plots,
        "tables": comparison.grid_tables(results),
        "contributions": comparison.contribution_tables(results),
        "rule": results.runs[0]["normalization"],
        "bleu_signature": next((run["bleu_signature"] for run in results.runs if "bleu_signature" in run), None),
        "paired": comparison.paired_rows(results),
        "telling": comparison.telling_noise(results),
        "samples": comparison.sample_transcripts(results, comparison.telling_noise(results)),
        "results": results,
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
    environment.filters["noise"] = lambda noise: noise_label(*noise)
    environment.filters["system"] = lambda system: comparison.system_label(system, results)
    environment.filters["paragraphs"] = lambda text: [part for part in text.split("\n\n") if part.strip()]
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment


def _wer_figures(results: Results) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each plot: one a noise, and with several languages one more, a panel each."""
    languages = comparison.languages_of(results)
    noises = list(dict.fromkeys(row.noise for row in results.conditions if row.noise != CLEAN)) or [CLEAN]
    bars = "Bands and bars: 95 % bootstrap intervals over utterances."
    figures = []
    for noise in noises:
        what = "without noise" if noise == CLEAN else f"over the level of {noise}"
        rows = comparison.rows_of(results, languages[0])
        figures.append((f"wer_{noise}", wer_figure({"": rows}, noise), f"Word error rate {what}. {bars}"))
        if languages[0] == ALL_LANGUAGES:
            panels = {language: comparison.rows_of(results, language) for language in languages[1:]}
            figures.append(
                (f"wer_{noise}_by_language", wer_figure(panels, noise), f"The same for each language. {bars}")
            )
    return figures


def _section(images: Path, number: int, section: ReportSection) -> dict[str, Any]:
    pictures = []
    for place, (path, caption) in enumerate(section.images):
        mime = _MIME.get(Path(path).suffix.lower())
        if mime is None or not Path(path).is_file():
            raise ValueError(f"section {section.title!r}: image {path} must be a PNG or JPEG file that exists")
        kept = images / f"section{number}_{place}{Path(path).suffix.lower()}"
        if kept.resolve() != Path(path).resolve():
            shutil.copyfile(path, kept)
        data = base64.b64encode(kept.read_bytes()).decode()
        pictures.append(Picture(f'<img alt="" src="data:{mime};base64,{data}">', f"images/{kept.name}", caption))
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
    svg = to_svg(figure)
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
