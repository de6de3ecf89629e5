"""The model card: Markdown with the Hugging Face hub's YAML head."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from avspeech.hub.official import AVHUBERT_NOTICE
from avspeech.interop.restricted import without_paths
from avspeech.models.files import Model, ModelFileError

TASK = "automatic-speech-recognition"
_AVHUBERT_LICENSE = {
    "license": "other",
    "license_name": "av-hubert",
    "license_link": "https://github.com/facebookresearch/av_hubert/blob/main/LICENSE",
}
_LIMITS = (
    "It was measured under the conditions of the table and no others; without a table it was not measured.",
    "It takes mouth crops at 25 frames a second that avspeech has cut; other crops mostly give worse results.",
    "Do not use it to listen in on people or to tell who they are.",
)
_FACTS = ("manifest", "method", "beam_size", "normalization", "seed")


Rows = Sequence[Mapping[str, Any]]


def read_results(results: str | Path | Mapping[str, Any], model: str | None = None) -> tuple[list[dict], dict]:
    """Return one model's rows in a ``results.json`` of ``avspeech.evaluate`` (file or content), and their run.

    Raises ModelFileError if it is something else, or holds several models and ``model`` is None.
    """
    where = "results" if isinstance(results, Mapping) else str(results)
    try:
        content = results if isinstance(results, Mapping) else json.loads(Path(results).read_text(encoding="utf-8"))
        names = list(dict.fromkeys(row["model"] for row in content["conditions"]))
        if (model or len(names) != 1) and model not in names:
            asked = f"no results of {model}, but" if model else "results"
            hint = "" if model else "; name one of them with `model`"
            raise ModelFileError(f"{where} holds {asked} of {', '.join(names) or 'no model'}{hint}")
        rows = [_shown(row) for row in content["conditions"] if row["model"] == (model or names[0])]
        run = next((dict(run) for run in content["runs"] if run["model"] == (model or names[0])), {})
    except ModelFileError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{where} cannot be read as results.json of avspeech.evaluate ({type(error).__name__}: {error}); see "
            "avspeech/evaluation/results.schema.json"
        ) from error
    return rows, run


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the card shows, with numbers as such."""
    kept = {name: row[name] for name in ("modality", "noise", "snr_db", "language", "n_words")}
    low, high = row["wer_95"]
    rates = {"wer": float(row["wer"]), "cer": float(row["cer"]), "wer_95": (float(low), float(high))}
    return {**kept, **rates, "video_stream": row.get("video_stream", "own")}


def model_card(
    network: Model,
    name: str,
    rows: Rows = (),
    run: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    languages: Sequence[str] = (),
    license: str | None = None,
    limitations: Sequence[str] = (),
) -> str:
    """Return the card as Markdown.

    Args:
        name: ``owner/name`` or folder, for loading.
        rows, run: of ``read_results``.
        training: configuration, shown without paths; None: that of imported weights.
        languages: ISO 639 codes.
        license: hub identifier, ``apache-2.0``; None: AV-HuBERT's if its weights are inside, else none.
        limitations: sentences to add.
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
    lines = [] if network.gives_text else [f"It gives no text: {network.no_text}."]
    parts.append("## Limitations\n\n" + "\n".join(f"- {line}" for line in [*lines, *limitations, *_LIMITS]))
    if _holds_avhubert(network):
        parts.append(f"## Licence of the weights\n\n{AVHUBERT_NOTICE}")
    return f"---\n{_head(network, name, rows, run or {}, languages, license)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _head(
    network: Model, name: str, rows: Rows, run: Mapping[str, Any], languages: Sequence[str], license: str | None
) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # takes most of a second; loading a model needs none of it

    data_set = str(run.get("manifest", "manifest"))
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=data_set,
            dataset_name=data_set,
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
    return ModelCardData(
        language=list(languages) or None,
        library_name="avspeech",
        pipeline_tag=TASK if network.gives_text else "feature-extraction",
        tags=["audio-visual-speech-recognition", "lip-reading"],
        model_name=name if rows else None,
        eval_results=results or None,
        **licenses,
    ).to_yaml()


def _holds_avhubert(network: Model) -> bool:
    """Return True if any weights are AV-HuBERT's."""
    source = network.source or {}
    return source.get("model") in ("av_hubert", "av_hubert_seq2seq") or source.get("video_model") is not None


def condition_of(row: Mapping[str, Any]) -> str:
    """Return a row's condition, as ``audio+video, babble 0 dB``."""
    words = [row["modality"], "clean" if row["noise"] == "none" else row["noise"]]
    if row["snr_db"] is not None:
        words[-1] += f" {row['snr_db']:g} dB"
    if row["video_stream"] != "own":
        words.append(f"video: {row['video_stream']}")
    return ", ".join(words)


def _usage(network: Model, name: str) -> str:
    call = 'print(model.transcribe("clip.mp4").text)' if network.gives_text else 'features = model.features("clip.mp4")'
    python = f'```python\nimport avspeech\n\nmodel = avspeech.load_model("{name}")\n{call}\n```'
    shell = f"```\npip install avspeech\navspeech transcribe clip.mp4 --model {name}\n```\n\n"
    return f"## Use\n\n{shell if network.gives_text else ''}{python}"


def _table(rows: Rows, run: Mapping[str, Any]) -> str:
    """Return the error rates over all languages, else by language."""
    shown = [row for row in rows if row["language"] == "all"] or list(rows)
    one = len({row["language"] for row in shown}) == 1
    lines = ["| condition | WER, % (95 % interval) | CER, % | words |", "|---|---:|---:|---:|"]
    for row in shown:
        low, high = row["wer_95"]
        condition = condition_of(row) + ("" if one else f", {row['language']}")
        rates = f"{100 * row['wer']:.1f} ({100 * low:.1f} to {100 * high:.1f}) | {100 * row['cer']:.1f}"
        lines.append(f"| {condition} | {rates} | {row['n_words']} |")
    facts = ", ".join(f"{key}: {run[key]}" for key in _FACTS if key in run)
    return "## Results\n\n" + "\n".join(lines) + (f"\n\n{facts}." if facts else "")
