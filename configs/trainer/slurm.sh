#!/bin/bash
# Train on several nodes under SLURM: sbatch configs/trainer/slurm.sh fit --config ... (the arguments of avspeech.train).
# Two minutes before its end the job writes a checkpoint, ends with status 75 and is queued again.
#SBATCH --job-name=avspeech
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=14
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log

set -u
export OMP_NUM_THREADS=1

srun --kill-on-bad-exit=1 python -m avspeech.train "$@" --trainer.num_nodes="$SLURM_JOB_NUM_NODES" --ckpt_path=last
status=$?
if [ "$status" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
