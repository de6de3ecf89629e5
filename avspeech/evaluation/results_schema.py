"""The form of ``results.json``: its JSON Schema, its version, and what earlier versions lack.

``results.schema.json`` beside this file is for anybody's validator. Version 2 added ``format`` and ``version``
themselves, how the intervals were made, an interval of CER, and ``noise_plan_sha256``. Files from before carry no
version; their intervals are percentiles over utterances. A change that older readers would misread takes the next
number.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

FORMAT = "avspeech results"
VERSION = 2


def check_document(document: Any, path: Path) -> None:
    """Check a document of the present version against the schema.

    Args:
        document: as ``json.loads`` gives it.
        path: of its file, for the message.

    Raises:
        ValueError: it does not fit; the message names the place, such as ``conditions[3].wer``.
    """
    error = best_match(_validator().iter_errors(document))
    if error is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "the document"
        raise ValueError(
            f"{path}: {place}: {_shortened(error.message)}; see avspeech/evaluation/results.schema.json, or make the "
            "file again with python -m avspeech.evaluate"
        )


def upgrade(document: Any, path: Path) -> Any:
    """Return a document of any earlier version as one of the present version; what it is not, stays for the check.

    Raises:
        ValueError: it is of a newer version.
    """
    if not isinstance(document, dict) or not isinstance(document.get("version", 1), int):
        return document
    version = document.get("version", 1)
    if version > VERSION:
        raise ValueError(
            f"{path} is version {version} of results and this avspeech knows up to {VERSION}; read it with a newer one"
        )
    if version == VERSION or not {"conditions", "runs"} <= set(document):
        return document
    return {
        "format": FORMAT,
        "version": VERSION,
        "conditions": [_upgraded_row(row) for row in document["conditions"]],
        "runs": [{"noise_plan_sha256": None, **run} for run in document["runs"]],
    }


def _upgraded_row(row: Mapping[str, Any]) -> dict[str, Any]:
    lacking = {
        "wer_95_method": "percentile",
        "wer_95_units": row.get("n_utterances"),
        "wer_95_unit": "utterance",
        "video_stream": "own",
        "bleu": None,
        "bleu_95": None,
        "cer_95": None,
    }
    return {**lacking, **row}


@lru_cache
def _validator() -> Draft202012Validator:
    schema = json.loads(files("avspeech.evaluation").joinpath("results.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _shortened(message: str, most: int = 200) -> str:
    """One line of the validator's message, which may quote the whole document."""
    message = " ".join(message.split())
    return message if len(message) <= most else f"...{message[-most:]}"
