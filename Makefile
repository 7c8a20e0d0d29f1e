# Commands of this project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCHMARKS := training loading intake start drift outage latency_target compression equal_files
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.txt pyproject.toml
	@command -v uv >/dev/null || test -x $(BIN)/uv || { python3 -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@test -x $(BIN)/python || uv venv --quiet --python 3.11 $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV)"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --compile-bytecode -r requirements.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## make .venv with every pinned package (the other commands do it when needed)
	@grep -qs 'site_cache_dir = ' .dvc/config.local || python -m pipeline.repro.site_cache

repro: setup ## raw data -> registered compressed model; only what changed runs
	@dvc repro || { espalier mend >/dev/null && dvc repro; } || { dvc checkout --quiet; exit 1; }
	@espalier summary --judge

test: $(READY) check ## everything that CI checks
	@python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --timeout 1500 tests/e2e tests/stages tests/unit tests/contract

chaos: $(READY) ## kill and corrupt a training at random, again and again (over an hour)
	@python -m pytest --timeout 3600 tests/chaos

faults: $(READY) ## every fault on a cluster of several hosts, again and again (as root; three quarters of an hour)
	@ESPALIER_FAULTS=all python -m pytest --timeout 1800 tests/cluster/test_faults.py

test-cluster: $(READY) ## clusters of several hosts, and the files in infra/ that make them (as root; half an hour)
	@python -m pytest --timeout 1800 tests/infra tests/cluster

test-docs: $(READY) ## README from its first line to its last (a quarter of an hour)
	@python -m pytest --timeout 3600 tests/docs

cluster: $(READY) ## a Ray cluster of three nodes on this machine, until Ctrl-C
	@python infra/local_cluster.py --nodes 3 --cpus 2

real: $(READY) ## other kinds of problem than one class an image, on photographs (a quarter of an hour)
	@python -m pytest --timeout 1800 tests/real

gpu: $(READY) ## the tests that need a CUDA device
	@python -m pytest --timeout 1200 tests/gpu

check: $(READY) ## lint, format, types and the generated schema
	@ruff check .
	@ruff format --check .
	@mypy
	@espalier schema --check

ui: $(READY) ## MLflow UI on loopback: runs, charts, registry
	@espalier ui

bench: $(READY) ## side-by-side benchmarks that need no root, as ratios (an hour and more)
	@for name in $(BENCHMARKS); do echo "== $$name"; python -m benchmarks $$name || exit 1; done

clean: ## remove outs, runs, tracking and caches; keeps .venv, data/raw and DVC's cache
	@rm -rf artifacts exported reports data/prepared .espalier .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup repro test test-cluster test-docs faults cluster chaos real gpu check ui bench clean
