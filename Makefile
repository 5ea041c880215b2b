# `make help` lists the targets. Set-up is done once and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO_DATA := tests/data/davis_masks
DEMO := data.root=tests/data data.split=davis_masks data.name=davis_masks \
  coarse=files coarse.path=$(DEMO_DATA)/coarse.json.gz masklets=files \
  masklets.path=$(DEMO_DATA)/masklets.json.gz masklets.nouns=$(DEMO_DATA)/nouns.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint eval bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

demo: $(READY) ## refine and score the masks of 15 real videos, the whole W x tau grid
	$(BIN)/python eval.py $(DEMO) ablation=grid name=demo

test: $(READY) ## run all tests
	$(BIN)/python -m pytest

lint: $(READY) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

eval: $(READY) ## python eval.py, settings in ARGS: make eval ARGS="refine.window=5 ..."
	$(BIN)/python eval.py $(ARGS)

bench: $(READY) ## speed of scoring against the official functions: make bench MEVIS=<checkout>
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/scoring.py --mevis $(MEVIS)

clean: ## delete .venv
	rm -rf .venv
