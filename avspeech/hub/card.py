"""The model card: what the hub shows of a model, as Markdown with a YAML head.

The head follows the hub's specification (library, task, languages, licence, and a ``model-index`` with every measured
error rate), so that results are searchable there; huggingface_hub writes it. The body says the same to people.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from avspeech.hub.official import AVHUBERT_NOTICE
from avspeech.models.files import Model, ModelFileError

TASK = "automatic-speech-recognition"
_AVHUBERT_LICENSE = {
    "license": "other",
    "license_name": "av-hubert",
    "license_link": "https://github.com/facebookresearch/av_hubert/blob/main/LICENSE",
}
_LIMITS = (
    "It was measured under the conditions of the table and no others; without a table, nobody has measured it.",
    "It takes 25 frames a second of lips that avspeech has cut; other crops give other results, mostly worse ones.",
    "Do not use it to listen in on people or to tell who they are.",
)


def read_results(results: Path | Mapping[str, Any], model: str | None = None) -> tuple[list[dict[str, Any]], dict]:
    """Return the rows of one model in a ``results.json`` of ``avspeech.evaluate``, and the run that made them.

    Args:
        results: the file, or what it holds (``avspeech/evaluation/results.schema.json``).
        model: whose rows, as the file calls it; None where there is one only.

    Raises:
        ModelFileError: the file is none, or does not say which model is meant.
    """
    where = "results"
    if not isinstance(results, Mapping):
        where = str(results)
        try:
            results = json.loads(Path(results).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{where} cannot be read as results.json: {error}") from error
    try:
        assert isinstance(results, Mapping)
        names = list(dict.fromkeys(row["model"] for row in results["conditions"]))
        if model is None and len(names) != 1:
            raise ModelFileError(f"{where} holds results of {', '.join(names) or 'no model'}; say whose with `model`")
        rows = [row for row in results["conditions"] if row["model"] == (model or names[0])]
        if not rows:
            raise ModelFileError(f"{where} holds no results of {model}, but of {', '.join(names)}")
        kept = [_checked(row) for row in rows]
        run = next((dict(run) for run in results["runs"] if run["model"] == rows[0]["model"]), {})
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{where} is no results.json of avspeech.evaluate ({type(error).__name__}: {error}); see "
            "avspeech/evaluation/results.schema.json"
        ) from error
    return kept, run


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card shows of a row; KeyError, TypeError or ValueError where that is not there."""
    kept = {name: row[name] for name in ("modality", "noise", "snr_db", "language", "n_words")}
    low, high = row["wer_95"]
    rates = {"wer": float(row["wer"]), "cer": float(row["cer"]), "wer_95": (float(low), float(high))}
    return {**kept, **rates, "video_stream": row.get("video_stream", "own")}


def languages_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the languages of rows of ``read_results``, in their order."""
    return list(dict.fromkeys(row["language"] for row in rows if row["language"] != "all"))


def model_card(
    network: Model,
    name: str,
    rows: Sequence[Mapping[str, Any]] = (),
    run: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    languages: Sequence[str] = (),
    license: str | None = None,
    limitations: Sequence[str] = (),
) -> str:
    """Return the card.

    Args:
        network: the model.
        name: what users will call it: ``owner/name``, or a folder.
        rows: of ``read_results``.
        run: likewise.
        training: configuration; None: what came with imported weights. Paths in it are left out.
        languages: ISO 639 codes.
        license: as the hub spells it (``apache-2.0``); None: AV-HuBERT's where its weights are inside, else unsaid.
        limitations: sentences beside our own.
    """
    training = training if training is not None else (network.source or {}).get("training")
    parts = [
        f"# {name}",
        f"{network.title}; for the Python package avspeech, audio-visual speech recognition.",
        "\n".join(f"- {line}" for line in network.describe(training=False)),
        _usage(network, name),
    ]
    if rows:
        parts.append(_table(rows, run or {}))
    if training:
        text = yaml.safe_dump(without_paths(training), sort_keys=False, allow_unicode=True)
        parts.append(f"## Training configuration\n\n```yaml\n{text}```")
    lines = [*limitations, *_LIMITS]
    if not network.gives_text:
        lines.insert(0, f"It gives no text: {network.no_text}.")
    parts.append("## Limitations\n\n" + "\n".join(f"- {line}" for line in lines))
    if _holds_avhubert(network):
        parts.append(f"## Licence of the weights\n\n{AVHUBERT_NOTICE}")
    return f"---\n{_head(network, name, rows, run or {}, languages, license)}---\n\n" + "\n\n".join(parts) + "\n"


def _head(
    network: Model,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    run: Mapping[str, Any],
    languages: Sequence[str],
    license: str | None,
) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # most of a second, which reading a model should not cost

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=str(run.get("manifest", "manifest")),
            dataset_name=str(run.get("manifest", "manifest")),
            dataset_config=str(row["language"]),
            dataset_revision=run.get("manifest_sha256"),
            metric_type="wer",
            metric_name=f"WER, %, {condition_of(row)}",
            metric_value=round(100 * row["wer"], 2),
        )
        for row in rows
    ]
    licenses: dict[str, Any] = {"license": license} if license else {}
    if license is None and _holds_avhubert(network):
        licenses = _AVHUBERT_LICENSE
    head = ModelCardData(
        language=list(languages) or None,
        library_name="avspeech",
        pipeline_tag=TASK if network.gives_text else "feature-extraction",
        tags=["audio-visual-speech-recognition", "lip-reading"],
        model_name=name if rows else None,
        eval_results=results or None,
        **licenses,
    )
    return head.to_yaml() + "\n"


def _holds_avhubert(network: Model) -> bool:
    """Return True if weights were imported from AV-HuBERT, wholly or as a video encoder."""
    source = network.source or {}
    return source.get("model") in ("av_hubert", "av_hubert_seq2seq") or source.get("video_model") is not None


def condition_of(row: Mapping[str, Any]) -> str:
    """Return the condition of a row of results in words: ``audio+video, babble 0 dB``."""
    words = [row["modality"], "clean" if row["noise"] == "none" else row["noise"]]
    if row["snr_db"] is not None:
        words[-1] += f" {row['snr_db']:g} dB"
    if row["video_stream"] != "own":
        words.append(f"video: {row['video_stream']}")
    return ", ".join(words)


def _usage(network: Model, name: str) -> str:
    if not network.gives_text:
        return (
            "## Use\n\n```python\nimport avspeech\n\n"
            f'model = avspeech.load_model("{name}")\nfeatures = model.features("clip.mp4")\n```'
        )
    return (
        f"## Use\n\n```\npip install avspeech\navspeech transcribe clip.mp4 --model {name}\n```\n\n"
        "```python\nimport avspeech\n\n"
        f'model = avspeech.load_model("{name}")\nprint(model.transcribe("clip.mp4").text)\n```'
    )


def _table(rows: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> str:
    """Return the error rates over all languages; where rows name single ones only, those."""
    shown = [row for row in rows if row["language"] == "all"] or list(rows)
    one = len({row["language"] for row in shown}) == 1
    lines = ["| condition | WER, % (95 % interval) | CER, % | words |", "|---|---:|---:|---:|"]
    for row in shown:
        low, high = row["wer_95"]
        condition = condition_of(row) + ("" if one else f", {row['language']}")
        rates = f"{100 * row['wer']:.1f} ({100 * low:.1f} to {100 * high:.1f}) | {100 * row['cer']:.1f}"
        lines.append(f"| {condition} | {rates} | {row['n_words']} |")
    facts = [f"{key}: {run[key]}" for key in ("manifest", "method", "beam_size", "normalization", "seed") if key in run]
    return "## Results\n\n" + "\n".join(lines) + ("\n\n" + ", ".join(facts) + "." if facts else "")


def without_paths(value: Any) -> Any:
    """Return a configuration as plain values, with ``(a path)`` where a path stood: a card names no machine."""
    if isinstance(value, Mapping):
        return {str(key): without_paths(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(child) for child in value]
    if isinstance(value, Path) or (isinstance(value, str) and ("/" in value or "\\" in value)):
        return "(a path)"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
