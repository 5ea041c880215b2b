#!/usr/bin/env bash
# The whole method on synthetic videos, without a GPU and without downloads: fine-tune, segment,
# track, refine, score. `make demo` calls this; a second start does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
data=${DEMO_DATA:-data/demo}
runs=${DEMO_RUNS:-runs/demo}
size=${DEMO_SIZE:-"num_videos.train=60 num_videos.valid_u=10 num_videos.valid=20"}
steps=${DEMO_STEPS:-}
export OMP_NUM_THREADS=2 # of the training, whose sums depend on it in the last digits
# Two processes of one thread are twice as fast for so small a model as one of two.
processes="trainer.devices=2 trainer.accelerator=cpu coarse.cpu_threads=1"

done_in() { test -e "$runs/$1/metrics.json"; } # the last file that a finished run writes

evaluate() { # SPLIT FOLDER settings...
  local split=$1 folder=$2
  shift 2
  done_in "$folder" || $python eval.py data=synthetic data.root="$data" data.split="$split" name=demo \
    model=mutr_tiny model.num_queries=1 coarse=mutr_tiny coarse.short_side=96 coarse.clip_length=3 \
    coarse.checkpoint="$runs/train/mutr.pth" output_dir="$runs/$folder" $processes "$@"
}

# 1. Videos of moving shapes, with sentences and masks. (valid keeps its masks here: it is scored.)
test -e "$data/valid/meta_expressions.json" ||
  $python -m rvos data synthesize out="$data" $size 'hidden_truth=[]'

# 2. Fine-tuning, a fixed number of steps from the shipped checkpoint.
if ! done_in train; then
  resume=$(test -e "$runs/train/checkpoints/last.ckpt" && echo ckpt_path=last || true)
  $python train.py experiment=demo data.root="$data" output_dir="$runs/train" $steps $resume
fi

# 3. The W x tau grid on valid_u, where tau is chosen for the paper's window.
evaluate valid_u valid_u masklets=flow ablation=grid
best=$($python -m rvos best "$runs/valid_u" --window 15)

# 4. On valid: perfect masklets first, which show what the vote can give, then those of optical flow.
evaluate valid oracle masklets=oracle $best ablation=grid
evaluate valid refined masklets=flow $best ablation=grid report.oracle="$runs/oracle"
echo "chosen on valid_u: $best"
echo "report: $(realpath "$runs/refined/report/index.html")"
