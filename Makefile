# Trunkline. Two commands set it up: `make run` serves, `make test` proves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install run demo test faults check bench lock clean

# The stamp is newer than the lock: nothing to do. pip brings uv, uv brings the rest, by hash.
$(VENV)/.installed: pyproject.toml deploy/requirements.txt deploy/requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r deploy/requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

install: $(VENV)/.installed

run: install
	@$(BIN)/trunkline up

demo: install
	@$(BIN)/python -m hub.cli.demo

# A process for each core, each with its own servers; the tests do not know of each other.
test: install
	@deploy/test-servers.sh
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

# Every fault at its full size, hours of it; `make test` has a selection. The figures: docs/reliability.md.
faults: export FAULTS := full
faults: export FAULTS_REPORT ?= $(CURDIR)/.faults.jsonl
faults: install
	@deploy/test-servers.sh
	@$(BIN)/pytest tests/faults tests/simulation tests/contract/test_bus_poison.py tests/contract/test_bus_order_under_kills.py \
	  tests/dialing/test_kills.py tests/respooling/test_nights.py tests/gaps/test_archive.py $(ARGS)
	@$(BIN)/python -m tests.faults.table $(FAULTS_REPORT)

check: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install
	@$(BIN)/python -m tests.bench

# Hash-pinned, and without the address of any package index, so that every index and mirror serves it.
lock: install
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade pyproject.toml -o deploy/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --group pyproject.toml:dev pyproject.toml -o deploy/requirements-dev.txt

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
