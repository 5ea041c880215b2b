# `make help` lists the targets. Set-up is done once and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MASKS := tests/data/davis_masks
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-train masks test fuzz lowest wheel lint eval train sweep bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install everything (no GPU needed)

# sam2 builds against the torch that is there already, without its optional CUDA extension.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python >= 3.11 is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  setuptools wheel --editable '.[all,dev]'
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt --no-build-isolation --editable '.[sam2]'
	@touch $(READY)

demo: $(READY) ## synthetic videos: fine-tune, segment, track, refine, score (rvos demo)
	$(BIN)/python -m rvos demo $(ARGS)

demo-train: $(READY) ## the small checkpoint from scratch (about two hours; docs/training.md)
	test -e data/synthetic_large/train/meta_expressions.json || $(BIN)/python -m rvos data \
	  synthesize out=data/synthetic_large num_videos.train=700 seed=1 camera_shake=3
	$(BIN)/python train.py experiment=demo_pretrain output_dir=runs/demo_pretrain
	$(BIN)/python demo/teach_motion.py data/synthetic_large runs/demo_pretrain/mutr.pth \
	  runs/demo_motion/mutr.pth
	$(BIN)/python train.py experiment=demo_clips output_dir=runs/demo_clips

masks: $(READY) ## refine and score given masks of 15 real videos: the W x tau grid, a report
	$(BIN)/python eval.py data.root=$(dir $(MASKS)) data.split=$(notdir $(MASKS)) name=masks \
	  coarse=files coarse.path=$(MASKS)/coarse.json.gz masklets=files \
	  masklets.path=$(MASKS)/masklets.json.gz masklets.nouns=$(MASKS)/nouns.json ablation=grid $(ARGS)

# One worker for each core; one more was not faster (docs/measurements.md). The tests of a file stay
# together, since they share costly fixtures; tests/conftest.py puts the long files first. One thread
# each, and those that a setting adds do not spin while they wait.
# (OMP_THREAD_LIMIT below the number of threads that torch was told gives wrong bf16 results on a
# CPU.)
LEFT_OUT = $(if $(and $(shell command -v chromium),$(shell command -v chromedriver)),,browser) $(shell \
  [ "$$(id -u)" = 0 ] && command -v slurmctld >/dev/null && command -v munged >/dev/null || echo slurm)
test: $(READY) ## run all tests (the page's need Chromium; SLURM's need root, slurm-wlm and munge)
	@$(if $(strip $(LEFT_OUT)),echo "left out for want of what they need: $(LEFT_OUT)")
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto \
	  --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
	  $(if $(strip $(LEFT_OUT)),-m "not ($(shell echo $(LEFT_OUT) | sed 's/ / or /'))")

fuzz: $(READY) ## 3,000 damaged inputs, 2,000 replies, 20 kills (`make test` runs a tenth)
	RVOS_FUZZ=3000 $(BIN)/python -m pytest -q tests/app/test_fuzz*.py tests/ask

# Quick tests that the core can run, and an evaluation as a whole.
LOWEST = tests/masks/test_masks.py tests/score/test_score.py tests/refine/test_refine.py \
  tests/refine/test_rules.py tests/report/test_bootstrap.py tests/data/test_datasets.py \
  tests/tracking/test_small.py
lowest: $(READY) ## the core in the lowest versions that pyproject.toml allows, and its quick tests
	rm -rf build/lowest && $(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lowest/bin/uv pip compile --quiet --no-header --resolution lowest-direct \
	  --python build/lowest/bin/python pyproject.toml --output-file build/lowest.txt
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python \
	  --requirement build/lowest.txt pytest hypothesis
	PYTHONPATH=. OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest -q -m "not slow" $(LOWEST)
	PYTHONPATH=. $(MAKE) -o $(READY) masks BIN=build/lowest/bin ARGS="output_dir=build/lowest_masks"

wheel: $(READY) ## install a wheel elsewhere and use it as another user (.ci/wheel)
	.ci/wheel
	.ci/wheel core

lint: $(READY) ## ruff, mypy and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

eval: $(READY) ## python eval.py, settings in ARGS: make eval ARGS="refine.window=5 ..."
	$(BIN)/python eval.py $(ARGS)

train: $(READY) ## python train.py: make train ARGS="experiment=paper trainer.devices=4"
	$(BIN)/python train.py $(ARGS)

sweep: $(READY) ## a sweep without W&B: make sweep SWEEP=refine_window ARGS="data.root=..."
	$(BIN)/python -m rvos sweep sweeps/$(SWEEP).yaml $(ARGS)

bench: $(READY) ## speed of scoring against the official functions: make bench MEVIS=<checkout>
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/scoring.py --mevis $(MEVIS)

clean: ## delete .venv
	rm -rf .venv
