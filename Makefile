PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed
ONLY ?= *
COMMA := ,
SHIPPED := pretrain.training.steps=4000,pretrain.scenes.train=30000
PYTEST_ARGS ?=
# A process a core, each in one thread, and the files in the order of tests/conftest.py.
PROCESSES := --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run test bench browser lint viz gpu pretrain ship samples

help:  ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(SETUP)  ## Set up, then images to a calibrated, explained, tracked classifier
	$(BIN)/kedro run

test: $(SETUP)  ## Set up, then the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PROCESSES) $(PYTEST_ARGS)

browser: $(SETUP)  ## Chromium for the tests of pages: Debian's, else Playwright's; without one they are skipped
	command -v chromium || (apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core) \
		|| $(BIN)/playwright install chromium

lint: $(SETUP)  ## Style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(SETUP)  ## Benchmarks against what a user would pick instead (ONLY=embed for one)
	for script in benchmarks/$(ONLY).py; do $(BIN)/python $$script || exit 1; done

gpu: $(SETUP)  ## All that wants a GPU: benchmarks, then nano-clip at full size (CIFAR=FOLDER adds photographs)
	for name in embed_gpu train explain shapley; do $(MAKE) bench ONLY=$$name || exit 1; done
	$(BIN)/kedro run --env gpu --pipelines=pretrain $(if $(CIFAR),--params=pretrain.parquet=$(CIFAR))

viz: $(SETUP)  ## The pipelines and their results as a static site in build/
	$(BIN)/kedro viz build --include-previews
	$(BIN)/python -m glasshead.reporting.site build

pretrain: $(SETUP)  ## Train nano-clip into data/06_models (CIFAR=FOLDER: the recipe of the shipped weights)
	$(BIN)/kedro run --pipelines=pretrain $(if $(CIFAR),--params=$(SHIPPED)$(COMMA)pretrain.parquet=$(CIFAR))

ship:  ## Put the weights and the card that pretrain left into the package
	mkdir -p src/glasshead/assets/nano-clip
	cp data/06_models/nano-clip/* data/08_reporting/nano-clip/README.md src/glasshead/assets/nano-clip/

samples: $(SETUP)  ## Draw the sample images of src/glasshead/assets/samples again
	$(BIN)/python -m glasshead.images.scenes src/glasshead/assets/samples
