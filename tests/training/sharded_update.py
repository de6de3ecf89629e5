"""One update of a model in shards over two processes, and of the same model whole; arguments: kind, folder, rank."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import load_model, save_model
from avspeech.training.engines import shard
from avspeech.training.guards import Guard, clip_gradients
from tests.models.tiny_whisper import LIPS, make_flamingo, make_inputs


def flamingo_loss(model):
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    valid = {"valid_BA": torch.ones(3, 48, dtype=torch.bool), "valid_BT": torch.ones(3, 12, dtype=torch.bool)}
    batch = SimpleNamespace(logmel_BAF=logmel_BAF, video_BTHW=video_BTHW, **valid)
    return lambda: model(tokens_BL, model.encode(batch)).float().square().mean()


def predictor_loss(model):
    def loss():
        generator = torch.Generator().manual_seed(0)
        video_BTHW = torch.randint(0, 255, (2, 6, 24, 24), dtype=torch.uint8, generator=generator)
        audio_BTF, valid_BT = torch.randn(2, 6, 104, generator=generator), torch.ones(2, 6, dtype=torch.bool)
        return model(audio_BTF, video_BTHW, valid_BT).logits_BTK.square().mean()

    return loss


def update(model, loss):
    adam = torch.optim.AdamW(model.parameters(), 0.1, eps=0.01, fused=True)
    guard = Guard(model, 1)
    guard.start()
    guard.watch(("clip",), loss(), torch.tensor(1)).backward()
    guard.judge(adam, norm := clip_gradients(adam, None, 0.5, False))
    adam.step()
    return float(norm)


def main(kind, folder, rank):
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    make, loss = {"flamingo": (make_flamingo, flamingo_loss), "predictor": (make_predictor, predictor_loss)}[kind]
    models = [make().eval(), make().eval()]
    losses = [loss(models[0])]
    shard(models[1], init_device_mesh("cpu", (2,)))
    losses.append(loss(models[1]))
    norms = [update(model, one) for model, one in zip(models, losses, strict=True)]
    torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-6)
    save_model(folder / "sharded.safetensors", models[1], write=rank == 0)
    if rank == 0:
        loaded = load_model(folder / "sharded.safetensors").state_dict()
        for name, weight in models[0].state_dict().items():
            torch.testing.assert_close(loaded[name], weight, rtol=1e-3, atol=1e-4)
    distributed.barrier()
    os._exit(0)


def make_predictor():
    torch.manual_seed(0)
    return ClusterPredictor(LIPS, 5)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
