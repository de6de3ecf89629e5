"""The structure of the package: order of the stages, no circles, short files, models that describe themselves."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "avspeech"
ORDER = [
    "timebase", "sequence", "files", "workers", "config_file", "manifest", "media", "shards", "roi", "features",
    "noise", "faults", "text", "units", "inputs", "data", "models", "interop", "hub", "objectives", "decoding",
    "transcription", "evaluation", "training", "export", "page", "train", "average", "evaluate", "transcribe",
    "app", "cli",
]  # fmt: skip


def imports_of_modules():
    """Return {module: modules of the package that it imports}, at the top or inside a function."""
    modules = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }
    graph = {}
    for module, path in modules.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
        graph[module] = (found & modules.keys()) - {module, "avspeech"}
    return graph


GRAPH = imports_of_modules()


def test_imports_follow_the_flow():
    backwards = []
    for module, imported in GRAPH.items():
        if module == "avspeech":
            continue
        stage = module.split(".")[1]
        assert stage in ORDER, f"{module} is no known stage: give it a place in ORDER"
        later = [other for other in imported if ORDER.index(other.split(".")[1]) > ORDER.index(stage)]
        backwards += [f"{module} imports {other}" for other in later]
    assert not backwards, "against the flow:\n" + "\n".join(backwards)


def test_every_folder_says_what_it_is():
    inits = [folder / "__init__.py" for folder in [PACKAGE, *PACKAGE.rglob("*/")] if folder.name != "__pycache__"]
    assert not [path for path in inits if not ast.get_docstring(ast.parse(path.read_text()))]


def test_models_and_objectives_need_neither_lightning_nor_media():
    names = ["avspeech.models.files", "avspeech.objectives.cluster_loss", "avspeech.objectives.masking"]
    heavy = ["lightning", "mediapipe", "ai_edge_litert", "av", "cv2", "jsonargparse"]
    code = f"import sys, {', '.join(names)}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_imports_itself_by_way_of_others():
    def reachable(module):
        seen, waiting = set(), [module]
        while waiting:
            for other in GRAPH[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    assert len(GRAPH) > 100
    assert not [module for module in GRAPH if module in reachable(module)]


def test_files_stay_short():
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert not {str(path): count for path, count in lines.items() if count > 400}
    assert sorted(lines.values())[len(lines) // 2] < 150


MODELS = {"Recognizer", "ClusterPredictor", "Whisper", "Flamingo", "AVEncoder", "WhisperEncoder"}


def test_few_places_ask_for_the_class_of_a_model():
    """A model describes itself (``inputs``, ``encode``, ``tokenizer``), so a new one needs no new branch elsewhere."""
    checks = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("models", "interop"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_check = isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
            is_check |= isinstance(node, (ast.Compare, ast.Match)) and "type(" in ast.unparse(node).split("\n")[0]
            if is_check and MODELS & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}:
                checks.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert len(checks) <= 12, "\n".join(checks)
