#!/bin/bash
# Train on several machines without SLURM; run this on each of them, with the same arguments:
#   NODES=2 HEAD=first-machine configs/trainer/torchrun.sh fit --config ... (the arguments of avspeech.train)
# SIGTERM to it, on any machine, ends all of them with a checkpoint; the same command goes on from there.
set -eu
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

exec python -m torch.distributed.run --nnodes="${NODES:-1}" --nproc-per-node="${PROCESSES:-gpu}" --max-restarts=0 \
    --rdzv-backend=c10d --rdzv-endpoint="${HEAD:-127.0.0.1}:${PORT:-29500}" --rdzv-id="${JOB:-avspeech}" \
    -m avspeech.train "$@" --trainer.num_nodes="${NODES:-1}" --ckpt_path=last
