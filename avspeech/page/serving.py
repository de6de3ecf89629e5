"""Run the page in Gradio, with files in a temporary folder and no requests to other servers."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from avspeech.manifest import Utterance
from avspeech.page.job import Limits
from avspeech.page.layout import Shelf, build_page
from avspeech.page.noises import Noises
from avspeech.page.render import STYLE_FILE
from avspeech.page.sessions import Sessions


def serve(
    shelf: Shelf,
    noises: Noises = Noises(),
    limits: Limits = Limits(),
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Sequence[Utterance] = (),
    on_start: Callable[[str], Any] = print,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then delete all uploads and results.

    ``host`` 0.0.0.0 opens the page to the network; ``on_start`` is called with its address once it answers. Raises
    ImportError without Gradio, ValueError if the first model cannot be loaded, OSError if the port is taken.
    """
    if not 0 < port < 65536:
        raise ValueError(f"port={port} must lie in 1..65535")
    with tempfile.TemporaryDirectory(prefix="avspeech-page-") as folder:
        sessions = Sessions(Path(folder) / "uploads", Path(folder) / "results")
        gr = _import_gradio(sessions.uploads)
        page = build_page(shelf, noises, limits, sessions, examples)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        _, local, _ = page.launch(  # the visitor's fonts, because Gradio's themes would ask a font server
            server_name=host, server_port=port, share=False, inbrowser=False, quiet=True,
            prevent_thread_lock=True, show_error=False, max_file_size=limits.max_bytes, ssr_mode=False, pwa=False,
            mcp_server=False, enable_monitoring=False, run_history=False, footer_links=[], css_paths=STYLE_FILE,
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            allowed_paths=[str(sessions.results), *(str(one.video) for one in examples)],
        )  # fmt: skip
        try:
            on_start(local)
            stop.wait()
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)


def _import_gradio(uploads: Path) -> Any:
    """Return Gradio; its folder and telemetry must be set before the import."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError as error:
        raise ImportError('the page needs Gradio: `pip install "avspeech[app]"`, or `uv sync --extra app`') from error
    return gradio
