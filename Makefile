PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Stages are run by DVC as `python -m tasks.<stage>`; they must find this environment's python.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
# Set, as images of containers often have it, every process would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install repro flow download paper paper-dry test test-all lint types bench rooms clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## install into .venv

.git:
	@echo "error: this folder is no Git repository, in which alone DVC works; run \`git init\` here" >&2
	@exit 2

# Compiling all 21,000 modules takes 50 s of CPU time, and the 2,700 that every run imports 10.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -c 'from tasks.cluster.fork_server import import_all; import_all()'
	@touch $@

repro: .git install ## run the pipeline on what params.yaml selects, print the table
	@$(BIN)/python -m tasks.cost.here
	@$(IN_VENV) python -m tasks.processes.holder dvc repro
	@$(BIN)/python -m tasks.tools.show

flow: .git install ## the same as a Prefect flow, once, on this machine
	@$(IN_VENV) python -m flows.demo

download: install ## fetch raw images: DATASET=cifar10_archive, tiny_imagenet or caltech256
	@$(IN_VENV) python -m tasks.tools.download "$(DATASET)"

paper: .git install ## run the paper's comparison: DATASET=cifar10, tiny_imagenet or caltech256
	@$(IN_VENV) python -m flows.paper "$(DATASET)"

paper-dry: install ## say what that costs, compute nothing
	@$(IN_VENV) python -m flows.paper "$(DATASET)" --dry

# Each process runs tests one after the other, and starts many more that do not keep a core busy.
PYTEST := OMP_NUM_THREADS=1 GOMP_SPINCOUNT=10000 $(IN_VENV) python -m pytest \
	--dist=loadscope --no-loadscope-reorder --max-worker-restart=0

test: lint types ## lint, types, and every test of what is computed
	$(PYTEST) --numprocesses=logical -m "not long"

# What takes long comes first, and waits half of its time for what it has started; the rest fills up.
test-all: lint types ## and what starts clusters, servers and whole pipelines
	$(PYTEST) --numprocesses="$$(($$(nproc) + 1))"

lint: install ## ruff and the order of rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## mypy
	$(BIN)/mypy

bench: install ## measure speed anew into docs/performance.md: forty minutes on two CPUs
	$(IN_VENV) python -m benchmarks docs/performance.md

rooms: install ## draw the rooms anew into docs/architecture.md, after imports between them have changed
	$(BIN)/python -m docs.rooms docs/architecture.md

clean: ## remove all results; the caches keep what they know
	rm -rf data models curves stylizers variants quality predictions salience reports unreadable .selection .checkpoints
