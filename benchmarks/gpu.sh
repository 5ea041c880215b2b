#!/usr/bin/env bash
# Every question about a GPU in one run of at most 10 minutes, on one H100 or H200:
#   benchmarks/gpu.sh                    # MUTR=<checkout> times the official code beside it
#   benchmarks/gpu.sh --dry-run          # the same steps with tiny sizes on a CPU
#   benchmarks/gpu.sh --help
# Nothing is downloaded: weights are random, videos are synthetic.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
command -v "$python" >/dev/null || python=python3
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
exec "$python" "$here/gpu.py" "$@"
