# `make help` lists the targets. Set-up is done once and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MASKS := tests/data/davis_masks
DEMO := runs/demo
DEMO_DATA := data/demo
DEMO_SIZE := size=[256,384] num_videos.train=100 num_videos.valid=30
DEMO_STEPS :=
DEMO_EVAL = $(BIN)/python eval.py data=synthetic data.root=$(DEMO_DATA) name=demo \
  model=mutr_tiny model.num_queries=1 coarse=mutr_tiny coarse.short_side=96 \
  coarse.checkpoint=$(DEMO)/train/mutr.pth
DEMO_BEST = $$($(BIN)/python -m rvos.report.best $(DEMO)/valid_u)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-train masks test test-long test-rest lint eval train sweep bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install everything (no GPU needed)

# sam2 builds against the torch that is there already, without its optional CUDA extension.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python >= 3.11 is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  setuptools wheel --editable '.[models,nouns,dev]'
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt --no-build-isolation --editable '.[sam2]'
	@touch $(READY)

demo: $(DEMO)/refined/metrics.json ## synthetic videos: fine-tune, segment, track, refine, score
	@$(BIN)/python -m rvos.report.compare $(DEMO)/paper $(DEMO)/refined --top 0
	@echo "A: the paper's window and tau. B: those chosen on valid_u: $(DEMO_BEST)"
	@echo "report: $(CURDIR)/$(DEMO)/refined/report/index.html"

# The masks of all splits are known here, so that valid can be scored too.
$(DEMO_DATA)/valid/meta_expressions.json: | $(READY)
	rm -rf $(DEMO_DATA)
	$(BIN)/python -m rvos.data synthesize out=$(DEMO_DATA) $(DEMO_SIZE) 'hidden_truth=[]'

$(DEMO)/train/mutr.pth: $(DEMO_DATA)/valid/meta_expressions.json
	$(BIN)/python train.py experiment=demo data.root=$(DEMO_DATA) output_dir=$(DEMO)/train $(DEMO_STEPS) \
	  $(if $(wildcard $(DEMO)/train/checkpoints/last.ckpt),ckpt_path=last)

$(DEMO)/valid_u/metrics.json: $(DEMO)/train/mutr.pth
	rm -rf $(@D)
	$(DEMO_EVAL) masklets=flow data.split=valid_u ablation=grid output_dir=$(@D)

# A new training may choose another cell; what is costly stays in stores/.
$(DEMO)/oracle/metrics.json: $(DEMO)/valid_u/metrics.json
	rm -rf $(@D)
	best="$(DEMO_BEST)" && $(DEMO_EVAL) masklets=oracle data.split=valid $$best output_dir=$(@D) report=none

$(DEMO)/paper/metrics.json: $(DEMO)/oracle/metrics.json
	rm -rf $(@D)
	$(DEMO_EVAL) masklets=flow data.split=valid output_dir=$(@D) report=none

$(DEMO)/refined/metrics.json: $(DEMO)/paper/metrics.json
	rm -rf $(@D)
	best="$(DEMO_BEST)" && $(DEMO_EVAL) masklets=flow data.split=valid $$best output_dir=$(@D) \
	  report.oracle=$(DEMO)/oracle 'report.beside={paper: $(DEMO)/paper}' report.ablation=$(DEMO)/valid_u

demo-train: $(READY) ## the small checkpoint from scratch (35 minutes or more; docs/training.md)
	test -e data/synthetic_large/train/meta_expressions.json || $(BIN)/python -m rvos.data \
	  synthesize out=data/synthetic_large num_videos.train=1200 seed=1
	$(BIN)/python train.py experiment=demo_pretrain

masks: $(READY) ## refine and score given masks of 15 real videos: the W x tau grid, a report
	$(BIN)/python eval.py data.root=$(dir $(MASKS)) data.split=$(notdir $(MASKS)) name=masks \
	  coarse=files coarse.path=$(MASKS)/coarse.json.gz masklets=files \
	  masklets.path=$(MASKS)/masklets.json.gz masklets.nouns=$(MASKS)/nouns.json ablation=grid $(ARGS)

test: $(READY) ## run all tests (those of the report's page only where Chromium is installed)
	@$(MAKE) --no-print-directory -j2 --output-sync=line test-long test-rest

# Most tests use one core: two processes, of about the same length.
LONG := tests/golden tests/test_chain.py tests/test_docs.py tests/test_train.py
test-long:
	$(BIN)/python -m pytest $(LONG)
test-rest:
	$(BIN)/python -m pytest $(LONG:%=--ignore %) $(if $(shell command -v chromium),,-m "not browser")

lint: $(READY) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

eval: $(READY) ## python eval.py, settings in ARGS: make eval ARGS="refine.window=5 ..."
	$(BIN)/python eval.py $(ARGS)

train: $(READY) ## python train.py: make train ARGS="experiment=paper trainer.devices=4"
	$(BIN)/python train.py $(ARGS)

sweep: $(READY) ## a sweep without W&B: make sweep SWEEP=refine_window ARGS="data.root=..."
	$(BIN)/python -m rvos.sweep sweeps/$(SWEEP).yaml $(ARGS)

bench: $(READY) ## speed of scoring against the official functions: make bench MEVIS=<checkout>
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/scoring.py --mevis $(MEVIS)

clean: ## delete .venv
	rm -rf .venv
