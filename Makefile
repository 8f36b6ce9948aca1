PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Stages are run by DVC as `python -m tasks.<stage>`; they must find this environment's python.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
# Set, as images of containers often have it, every process would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install repro flow download paper paper-dry test test-all lint types bench rooms clean

install: $(INSTALLED)

# Python compiles what it imports; compiling all 21,000 modules beforehand takes 50 s of CPU time.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@touch $@

repro: install
	@$(BIN)/python -m tasks.cost.here
	@$(IN_VENV) python -m tasks.processes.holder dvc repro
	@$(BIN)/python -m tasks.tools.show

flow: install
	@$(IN_VENV) python -m flows.demo

# DATASET: cifar10_archive, tiny_imagenet or caltech256
download: install
	@$(IN_VENV) python -m tasks.tools.download "$(DATASET)"

# DATASET: cifar10, tiny_imagenet or caltech256
paper: install
	@$(IN_VENV) python -m flows.paper "$(DATASET)"

paper-dry: install
	@$(IN_VENV) python -m flows.paper "$(DATASET)" --dry

# Each process runs tests one after the other, and starts many more that do not keep a core busy.
PYTEST := OMP_NUM_THREADS=1 GOMP_SPINCOUNT=10000 $(IN_VENV) python -m pytest \
	--numprocesses=logical --dist=loadfile --no-loadscope-reorder

test: lint types
	$(PYTEST) -m "not long"

test-all: test
	$(PYTEST) -m long

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

# Half an hour on two CPUs with nothing else to do.
bench: install
	$(IN_VENV) python -m benchmarks docs/performance.md

# Draws the rooms into docs/architecture.md anew, after the imports between them have changed.
rooms: install
	$(BIN)/python -m docs.rooms docs/architecture.md

clean:
	rm -rf data models curves variants predictions salience reports .checkpoints
