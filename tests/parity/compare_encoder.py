"""Front ends, fusion and every layer of the encoder, with both or one stream, with padding and without."""

from contextlib import contextmanager
from dataclasses import replace

import torch

from avspeech.interop.avhubert import load_official
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.encoder import AVEncoder
from tests.parity.comparison import Comparison
from tests.parity.fixtures import Fixture


def import_model(fixture: Fixture):
    """Return the imported model, set to treat padding and to lay out feature maps as the official code does.

    Both are choices that cost time and that no real frame's numbers depend on, but for rounding.
    """
    model = load_official(fixture.checkpoint)
    model.encoder.config = replace(model.encoder.config, official_padding=True)
    frontend = model.encoder.video_frontend
    frontend.config = replace(frontend.config, channels_last=False)
    return model


@contextmanager
def spied(**modules):
    """Yield a dict that fills with (first input, output) of modules as they run."""
    seen = {}
    handles = [
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: (inputs[0], output)}))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def seeing_once(encoder: AVEncoder):
    """Let the video front end, nearly all of the time, run once for each of its inputs."""
    run, known = encoder.video_frontend.forward, {}

    def forward(*inputs):
        key = tuple(one.numpy().tobytes() if one is not None else None for one in inputs)
        return known[key] if key in known else known.setdefault(key, run(*inputs))

    encoder.video_frontend.forward = forward
    try:
        yield
    finally:
        del encoder.video_frontend.forward


@torch.no_grad()
def compare_encoder(fixture: Fixture, model: ClusterPredictor | None = None) -> Comparison:
    """Compare an encoder fixture; ``model`` stands in for the imported one where a test changes it."""
    model = model or import_model(fixture)
    table = Comparison(fixture.name, fixture.tensors)
    table.skip("in.", "input")
    audio_BTF, video_BTHW, valid_BT = fixture.streams
    _compare_front_ends(table, model.encoder, audio_BTF, video_BTHW, valid_BT)
    with seeing_once(model.encoder):
        for tag, audio, video in [("av", audio_BTF, video_BTHW), ("a", audio_BTF, None), ("v", None, video_BTHW)]:
            _compare_layers(table, tag, model.encoder, audio, video, valid_BT)
        row, length = 1, int(valid_BT[1].sum())
        cut = [stream[row : row + 1, :length] for stream in (audio_BTF, video_BTHW, valid_BT)]
        table.check("dump.final", model.encoder(*cut))
        for layer in range(model.encoder.config.depth + 1):
            table.check(f"dump.layer{layer}", model.encoder(*cut, layer=layer))
    table.check("final_proj", model.unit_head.project(model.encoder(audio_BTF, video_BTHW, valid_BT)))
    return table


def _compare_front_ends(table: Comparison, encoder: AVEncoder, audio_BTF, video_BTHW, valid_BT) -> None:
    batch, frames = valid_BT.shape
    frontend = encoder.video_frontend
    with spied(trunk=frontend.trunk, project=frontend.project) as seen:
        video_BTD = frontend(video_BTHW, valid_BT, torch.ones_like(valid_BT))
        table.check("sub.resnet", seen["project"][0].view(batch, frames, -1).transpose(1, 2))
        frontend(video_BTHW[:1, :3], valid_BT[:1, :3])
        table.check("sub.frontend3D_first3", seen["trunk"][0].transpose(0, 1)[None])
    table.check("sub.video", video_BTD.transpose(1, 2))
    table.check("sub.audio", encoder.audio_project(audio_BTF).transpose(1, 2))


def _compare_layers(table: Comparison, tag: str, encoder: AVEncoder, audio_BTF, video_BTHW, valid_BT) -> None:
    with spied(norm=encoder.fusion.norm, project=encoder.fusion.project, positions=encoder.positions) as seen:
        table.check(f"{tag}.x", encoder(audio_BTF, video_BTHW, valid_BT))
        table.check(f"{tag}.fused_ln", seen["norm"][1])
        table.check(f"{tag}.post_extract_proj", seen["project"][1])
        table.check(f"{tag}.pos_conv", seen["positions"][1].transpose(1, 2))
    for layer in range(1, encoder.config.depth + 1):
        table.check(f"{tag}.layer{layer}", encoder(audio_BTF, video_BTHW, valid_BT, layer=layer))
    table.check(f"{tag}.x_nopad", encoder(audio_BTF, video_BTHW, torch.ones_like(valid_BT)))
