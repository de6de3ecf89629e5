"""A stage imports only itself and the stages before it; models need neither Lightning nor media."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "avspeech"
ORDER = [
    "timebase", "sequence", "files", "config_file", "manifest", "media", "roi", "features", "noise", "faults", "text",
    "units", "inputs", "data", "models", "interop", "hub", "objectives", "decoding", "transcription", "evaluation",
    "training", "export", "page", "train", "evaluate", "transcribe", "app", "cli",
]  # fmt: skip


def imported_stages(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("avspeech."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("avspeech."))


def test_imports_follow_the_flow():
    backwards = []
    for path in PACKAGE.rglob("*.py"):
        stage = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if stage == "__init__":
            continue
        assert stage in ORDER, f"{path} is no known stage: give it a place in ORDER"
        for other in imported_stages(path.read_text()):
            if ORDER.index(other) > ORDER.index(stage):
                backwards.append(f"{path.relative_to(PACKAGE)} imports avspeech.{other}")
    assert not backwards, "against the flow:\n" + "\n".join(backwards)


def test_every_folder_says_what_it_is():
    silent = [
        str(folder)
        for folder in [PACKAGE, *PACKAGE.rglob("*/")]
        if folder.name != "__pycache__" and not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    ]
    assert not silent


def test_models_and_objectives_need_neither_lightning_nor_media():
    names = ["avspeech.models.files", "avspeech.objectives.cluster_loss", "avspeech.objectives.masking"]
    heavy = ["lightning", "mediapipe", "av", "cv2", "jsonargparse"]
    code = f"import sys, {', '.join(names)}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
