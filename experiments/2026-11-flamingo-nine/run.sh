#!/usr/bin/env bash
# Whisper base that reads lips in nine languages, on synthetic talking faces: every step in order, 2 CPU cores.
#
#     experiments/2026-11-flamingo-nine/run.sh runs/nine runs/whisper_base.safetensors runs/demo/av/model.safetensors
#
# Reads  a model file of Whisper base: python -m avspeech.interop base runs/whisper_base.safetensors
#        and the audio-visual recogniser of make demo, whose lip encoder has seen synthetic faces speak commands
# Writes everything into the first folder. Test speakers, sentences and babble voices are in no other set.
set -euo pipefail
run=$1 whisper=$2 demo=$3 here=$(dirname "$0") python=${PYTHON:-python}
export OMP_NUM_THREADS=1
if [ ! -f "$run/test.jsonl" ]; then
    "$python" -m data_prep.corpora.synthetic "$run/corpus" --num_train 720 --num_valid 36 --num_test 180 --num_babble 36 \
        --languages '[en,ar,de,el,es,fr,it,pt,ru]' --text sentences --speakers_train 24 --speakers_test 9
    for split in train valid test; do
        "$python" data_prep/extract_rois.py "$run/corpus/$split.jsonl" "$run/roi" --out_manifest="$run/$split.jsonl" --roi.every=2
    done
fi
voices=$run/corpus/babble_train.jsonl
train() { # name, configurations and arguments
    local name=$1
    shift
    [ -f "$run/$name/finished" ] && return
    "$python" -m avspeech.train fit "$@" --config=configs/trainer/cpu.yaml --data.init_args.train="$run/train.jsonl" \
        --data.init_args.val="$run/valid.jsonl" --data.init_args.noise_manifest="$voices" --trainer.default_root_dir="$run/$name" \
        --trainer.logger.init_args.save_dir="$run/$name" --trainer.enable_progress_bar=false
    touch "$run/$name/finished"
}
evaluate() { # name of the model, its file, conditions, arguments
    local name=$1 model=$2 conditions=$3
    shift 3
    "$python" -m avspeech.evaluate --model "$model" --manifest "$run/test.jsonl" --conditions "$here/$conditions.yaml" \
        --out_dir "$run/$name/evaluate" --name "$name" \
        --noise_manifests "{babble: $run/corpus/babble_test.jsonl}" "$@"
}
noisy='{probability: 1.0, noises: {babble: {kind: babble, num_voices: 6}}}'

# A lip encoder that has learned to recognise the same clips: CTC over characters, both streams or one.
"$python" data_prep/train_tokenizer.py "$run/train.jsonl" "$run/tokenizer.json" --kind characters
train lips --config=configs/finetune/small.yaml --model.init_args.tokenizer="$run/tokenizer.json" --trainer.max_steps=2000 \
    --data.init_args.spans.steps=2000 --model.init_args.recognizer.ctc_upsample=2
# Stage 1 and stage 2.
train audio --config=configs/flamingo/audio.yaml --config=configs/flamingo/audio/few_clips.yaml --model.init_args.whisper="$whisper" --trainer.max_steps=600 \
    --trainer.precision=bf16-mixed --trainer.val_check_interval=150 --data.init_args.val_noise="$noisy"
for lips in "$run/lips" "$(dirname "$demo")"; do
    name=$([ "$lips" = "$run/lips" ] && echo av || echo av_demo)
    train "$name" --config=configs/flamingo/av.yaml --config=configs/flamingo/av/few_clips.yaml --model.init_args.whisper="$run/audio/model.safetensors" \
        --model.init_args.video_pretrained="$lips/model.safetensors" --trainer.max_steps=300 \
        --trainer.precision=bf16-mixed --trainer.val_check_interval=150 --data.init_args.val_noise="$noisy"
done

evaluate zero_shot "$whisper" zero_shot --modalities '[audio]'
evaluate audio "$run/audio/model.safetensors" conditions --modalities '[audio]'
evaluate av "$run/av/model.safetensors" conditions
evaluate av_demo "$run/av_demo/model.safetensors" conditions --modalities '[video,audio+video]'
