"""The page in Gradio: layout, models, examples and reactions to clicks."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from avspeech.inputs import Modality
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.errors import MediaError
from avspeech.page.job import Job, Limits, check_upload, run_job
from avspeech.page.noises import HIGHEST_SNR_DB, LOWEST_SNR_DB, NONE, Noises
from avspeech.page.render import render_message, render_outcome
from avspeech.page.sessions import Sessions
from avspeech.roi.face_model import FaceModelError
from avspeech.transcription.speech_model import SpeechModel

log = logging.getLogger(__name__)

DETECT, NO_CHOICE = "detect", "the model's own"
"""Shown without a language: for a model that takes one, and one that does not."""
MODALITIES: dict[str, Modality] = {"sound and picture": "audio+video", "sound alone": "audio", "picture alone": "video"}
MAX_REFERENCE = 10_000
"""Longest reference in letters; alignment time is quadratic."""
WEBCAM = {"width": {"ideal": 1280}, "height": {"ideal": 720}}
"""Requested camera size: more does not help 96x96 mouth crops, and costs slow machines frames."""
EXPLANATION = (
    "Upload a video of a talking person, or record yourself. Add noise and see how much the lips help. "
    "Nothing leaves this server, and your files are deleted when you close the page."
)


class Shelf:
    """The page's models, each loaded on first use and kept; no other names are ever loaded."""

    def __init__(self, names: Sequence[str], load: Callable[[str], SpeechModel]) -> None:
        if not names:
            raise ValueError("no model came, wanted at least one name or path; see --models")
        self.names = list(dict.fromkeys(names))
        self._load, self._lock = cache(load), Lock()

    def take(self, name: str) -> SpeechModel:
        """Return a model; ValueError if it is not offered or cannot be loaded."""
        if name not in self.names:
            raise ValueError(f"model {name!r} came, wanted one of {', '.join(self.names)}")
        with self._lock:
            return self._load(name)


def choose_examples(manifest: Path, count: int = 2) -> list[Utterance]:
    """Return the first clips of a manifest, in as many languages as possible; parts of longer files are none.

    ValueError: a line has no video, or all are parts.
    """
    utterances = [one for one in read_manifest(manifest, require=("video",)) if one.span is None]
    if not utterances:
        raise ValueError(f"{manifest}: all clips are parts of longer files (start_s), wanted clips with own files")
    firsts = {one.language: one for one in reversed(utterances)}
    return sorted(utterances, key=lambda one: one is not firsts[one.language])[:count]


def build_page(
    shelf: Shelf, noises: Noises, limits: Limits, sessions: Sessions, examples: Sequence[Utterance] = ()
) -> Any:
    """Return the page, a ``gradio.Blocks`` that does not run yet; ValueError if the first model cannot be loaded."""
    import gradio as gr

    languages, modalities, first_modality = _choices(shelf.take(shelf.names[0]))

    def take_upload(video: str | None, request: gr.Request) -> Any:
        sessions.hold(str(request.session_hash), None if video is None else Path(video))
        if video is None:
            return gr.skip(), gr.skip()
        try:
            check_upload(Path(video), limits)
        except Exception as error:  # no value calls this again with None, which deletes the file
            return gr.Video(value=None), render_message(_error_of(error, video))
        return gr.skip(), ""

    def take_model(name: str) -> Any:
        try:
            languages, modalities, chosen = _choices(shelf.take(name))
        except Exception as error:
            return gr.skip(), gr.skip(), render_message(_error_of(error))
        return gr.Dropdown(choices=languages, value=languages[0]), gr.Radio(choices=modalities, value=chosen), ""

    def transcribe(
        video: str | None,
        name: str,
        language: str,
        modality: str,
        noise: str,
        snr_db: float,
        reference: str,
        request: gr.Request,
        progress: Any = gr.Progress(),
    ) -> Any:
        if video is None:
            return "", render_message("There is no video yet: upload one, record one, or take an example.")
        code = None if language in (DETECT, NO_CHOICE) else language
        try:
            job = Job(Path(video), code, MODALITIES[modality], noise, float(snr_db), reference[:MAX_REFERENCE])
            with sessions.job(str(request.session_hash)) as folder:
                tell = lambda share, what: progress(share, desc=what)  # noqa: E731
                return render_outcome(run_job(job, shelf.take(name), noises, folder, limits, tell)), ""
        except Exception as error:
            return "", render_message(_error_of(error, video))

    def forget(request: gr.Request) -> None:
        sessions.forget(str(request.session_hash))

    # delete_cache: Gradio deletes what visits left behind every 600 s, once it is 3600 s old
    with gr.Blocks(title="avspeech", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(f"# avspeech: from a talking face to words\n{EXPLANATION}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                video = gr.Video(
                    label=f"Video, up to {limits.max_seconds:g} s and {limits.max_mb:g} MB",
                    sources=["upload", "webcam"], include_audio=True, elem_id="video",
                    webcam_options=gr.WebcamOptions(constraints={"video": WEBCAM}),
                )  # fmt: skip
                with gr.Row():
                    buttons = [gr.Button(_label(one), size="sm", elem_classes="example") for one in examples]
                model = gr.Dropdown(shelf.names, value=shelf.names[0], label="Model", elem_id="model")
                with gr.Row():
                    language = gr.Dropdown(
                        languages, value=languages[0], label="Language", elem_id="language", min_width=110
                    )
                    noise = gr.Dropdown(noises.kinds, value=NONE, label="Added noise", elem_id="noise", min_width=110)
                modality = gr.Radio(modalities, value=first_modality, label="Transcribe", elem_id="modality")
                snr_db = gr.Slider(
                    LOWEST_SNR_DB, HIGHEST_SNR_DB, value=0, step=1, label="Speech over noise (SNR, dB)", elem_id="snr"
                )
                reference = gr.Textbox(label="What is really said, for error rates (optional)", elem_id="reference")
                run = gr.Button("Transcribe", variant="primary", elem_id="run")
            with gr.Column(scale=3, min_width=320):
                message = gr.HTML(elem_id="message")
                result = gr.HTML(elem_id="result", min_height=120)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        video.change(take_upload, video, [video, message], concurrency_limit=4, **quiet)
        model.change(take_model, model, [language, modality, message], concurrency_limit=1, api_visibility="private")
        run.click(
            transcribe,
            [video, model, language, modality, noise, snr_db, reference],
            [result, message],
            concurrency_limit=1,
            api_visibility="private",
            show_progress_on=result,
        )
        for button, example in zip(buttons, examples, strict=True):
            button.click(lambda one=example: (str(one.video), one.text or ""), None, [video, reference], **quiet)
        page.unload(forget)
    return page.queue(max_size=20)  # further waiting jobs are refused


def _choices(model: SpeechModel) -> tuple[list[str], list[str], str]:
    languages = [DETECT, *model.languages] if model.languages else [NO_CHOICE]
    shown = {streams: name for name, streams in MODALITIES.items() if model.decoder.reads_lips or streams == "audio"}
    return languages, list(shown.values()), shown[model.modality()]


def _label(example: Utterance) -> str:
    return f"Example: {example.language or 'a clip'}, “{example.text or example.id}”"


def _error_of(error: Exception, video: str = "") -> str:
    """Return the error message, which never shows the server path of ``video``; log errors that are no user's."""
    if isinstance(error, FileNotFoundError):
        log.error("a file of a job is gone", exc_info=error)
        why = "The upload is no longer on the server. Send it again."
    elif isinstance(error, MediaError | ValueError | FaceModelError | ImportError):
        why = str(error)
    else:  # a bug of ours
        log.error("a job of the page failed", exc_info=error)
        why = "The server made a mistake; its log has the details. Other videos and settings may work."
    return why.replace(video, Path(video).name) if video else why
