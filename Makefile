# `make demo` and `make test` install what they need by themselves; the rest of the targets likewise.

# This machine's interpreter. `make pi-bundle PYTHON=3.13` means the device's, which is PYTHON_VERSION.
HOST_PYTHON = $(shell for name in python3.11 python3.12 python3.13 python3; do command -v $$name && break; done)
PYTHON    ?= $(HOST_PYTHON)
PYTHON_VERSION ?= 3.11
ifneq ($(filter 3.11 3.13 both,$(PYTHON)),)
PYTHON_VERSION := $(PYTHON)
override PYTHON := $(HOST_PYTHON)
else ifneq ($(filter 1.% 2.% 3.% 4.%,$(PYTHON)),)
$(error PYTHON=$(PYTHON): bundles are made for 3.11, 3.13 or both; name an interpreter of this machine by its path)
endif
VENV      := .venv
BIN       := $(VENV)/bin
PEERS     := .venv-baselines
OPENVINO  := .venv-openvino
ARTIFACTS := artifacts
TRAINING  := training
RECORDINGS := edgewhisper/models/demo/recordings

# What `make artifacts` builds: a hub id, a model's name, a folder or a file; see `edgewhisper models`.
MODEL     ?= demo
# fp32, fp16, int8, int8-dynamic, int8-weight or int4; the demo is int8 and other artifacts fp32 where none is given.
PRECISION ?=
# What `make bench` measures of edgewhisper; the first is what the others are compared with.
VARIANTS  ?= int8,int8-low-memory,int8-heads@0.75,int4,fp32
# The others: the best form of each engine, as all of them (edgewhisper bench --peers) take 20 minutes.
ENGINES   ?= transformers openai-whisper onnx-asr optimum-int8 faster-whisper faster-whisper-int8 whisper.cpp-q8_0 whisper.cpp-q5_1 sherpa-onnx-int8
# Of timings, in rounds of all; converting, memory, recordings and accuracy come on top.
MINUTES   ?= 4
# Of the Debian package; one that was built again is an upgrade with a higher one.
REVISION  ?= 0
# Processes of `make demo-draft` and `make demo-student`.
JOBS      ?= 2
# What guesses tokens: heads, shared:1, ngram:FILE, or a folder of `edgewhisper distill`.
DRAFT     ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo artifacts pi-bundle test test-all test-arm64 check format bench demo-model demo-draft demo-student clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/dev-installed ## Install everything for development into .venv

demo: $(VENV)/build-installed ## Build the bundled model, transcribe its recordings, print WER, speed and memory
	@$(BIN)/edgewhisper build demo -o $(ARTIFACTS)/demo-$(or $(PRECISION),int8) --precision $(or $(PRECISION),int8)
	@$(BIN)/python -m edgewhisper.bench.demo $(ARTIFACTS)/demo-$(or $(PRECISION),int8) $(RECORDINGS)

artifacts: $(VENV)/build-installed ## Build MODEL=demo PRECISION=fp32 [DRAFT=heads] into artifacts/
	@$(BIN)/edgewhisper build '$(MODEL)' -o '$(ARTIFACTS)/$(notdir $(MODEL:/=))-$(or $(PRECISION),fp32)' --precision '$(or $(PRECISION),fp32)' $(if $(DRAFT),--draft '$(DRAFT)')

# The bundled model's draft comes with it.
pi-bundle: PI_ARTIFACT = $(ARTIFACTS)/$(notdir $(MODEL:/=))-$(or $(PRECISION),int8)-arm64
pi-bundle: PI_DRAFT = $(or $(DRAFT),$(if $(filter demo,$(MODEL)),heads))
pi-bundle: $(VENV)/build-installed ## Pack MODEL=demo PRECISION=int8 for PYTHON=3.11|3.13|both of a Raspberry Pi into dist/
	@$(BIN)/edgewhisper build '$(MODEL)' -o '$(PI_ARTIFACT)' --precision '$(or $(PRECISION),int8)' --target arm64 $(if $(PI_DRAFT),--draft '$(PI_DRAFT)')
	@$(BIN)/edgewhisper bundle '$(PI_ARTIFACT)' -o dist --python '$(PYTHON_VERSION)' --revision '$(REVISION)'

test: $(VENV)/dev-installed ## Run the fast tests
	$(BIN)/python -m pytest -m 'not slow' -n auto --dist loadfile

test-all: $(VENV)/dev-installed $(OPENVINO)/installed ## Run every test, the slow ones too
	$(BIN)/python -m pytest

test-arm64: $(VENV)/dev-installed ## Install the demo's bundle on an emulated Raspberry Pi and compare it with this machine
	$(BIN)/python -m pytest tests/arm64

check: $(VENV)/dev-installed ## Check format, lint, types and who may import whom
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev-installed ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/dev-installed $(PEERS)/installed ## Measure speed, memory and accuracy on this machine, against other engines, into benchmarks/
	@mkdir -p benchmarks
	@set -e; run=benchmarks/$$($(BIN)/python -m edgewhisper.bench.machine); \
		$(BIN)/edgewhisper bench --model tiny.en --variants $(VARIANTS) $(addprefix --peer ,$(ENGINES)) --peers-python $(PEERS)/bin/python --rounds 3 --minutes $(MINUTES) --clips 1,3,5,10,30 --winograd-error --accuracy -o $$run.json; \
		$(BIN)/edgewhisper report $$run.json -o $$run.html --markdown $$run.md

demo-model: $(VENV)/dev-installed ## Train the bundled model anew (about an hour; needs espeak-ng); goes on where it was stopped
	$(BIN)/python -m edgewhisper.distill.demo --work-dir $(TRAINING)/demo

# What the bundled drafts and the student learn from: speech that the bundled model was not trained on.
$(TRAINING)/speech.done: $(VENV)/dev-installed
	$(BIN)/python -m edgewhisper.distill.speech -o $(TRAINING)/speech --shards 112 --jobs $(JOBS)
	@touch $@

demo-draft: $(TRAINING)/speech.done ## Train the bundled model's drafts anew (a quarter of an hour with a GPU and JOBS=16; needs espeak-ng)
	$(BIN)/edgewhisper distill demo --kind heads --data $(TRAINING)/speech -o edgewhisper/models/demo/heads --work-dir $(TRAINING)/heads --steps 10000 --batch 128 --jobs $(JOBS)
	$(BIN)/edgewhisper distill demo --kind shared --data $(TRAINING)/speech --most 5160 -o edgewhisper/models/demo/draft --work-dir $(TRAINING)/draft --steps 2500 --jobs $(JOBS)

demo-student: $(TRAINING)/speech.done ## Train the bundled student anew (a quarter of an hour with a GPU and JOBS=16; needs espeak-ng)
	$(BIN)/edgewhisper distill demo --kind student --layers 2 --data $(TRAINING)/speech -o edgewhisper/models/demo/student --work-dir $(TRAINING)/student --steps 15000 --batch 128 --jobs $(JOBS)

clean: ## Remove what the other targets made, but not the training
	rm -rf $(VENV) $(PEERS) $(OPENVINO) $(ARTIFACTS) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find edgewhisper tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is installed anew when what it should contain changes.
$(VENV)/created $(PEERS)/created $(OPENVINO)/created:
	@test -n '$(PYTHON)' && '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "edgewhisper needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	'$(PYTHON)' -m venv $(@D)
	@touch $@

$(VENV)/build-installed: pyproject.toml constraints/build.txt constraints/runtime.txt | $(VENV)/created
	@echo "Installing what building and transcribing need into $(VENV) (first time, or the requirements changed)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/build.txt -e '.[cpu,build,eval]'
	@touch $@

$(VENV)/dev-installed: pyproject.toml constraints/dev.txt constraints/build.txt constraints/runtime.txt | $(VENV)/created
	@echo "Installing everything for development into $(VENV) (first time, or the requirements changed)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/dev.txt -e '.[cpu,listen,build,torch,vocab,eval,hf,dev]'
	@touch $@

$(PEERS)/installed: pyproject.toml constraints/baselines.txt constraints/build.txt constraints/runtime.txt | $(PEERS)/created
	@echo "Installing the engines to compare with into $(PEERS) (first time, or the requirements changed)"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/baselines.txt -e '.[cpu,build,torch,vocab,baselines]'
	@touch $@

$(OPENVINO)/installed: pyproject.toml constraints/openvino.txt | $(OPENVINO)/created
	@echo "Installing ONNX Runtime with OpenVINO into $(OPENVINO) (first time, or the requirements changed)"
	@$(OPENVINO)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/openvino.txt -e '.[openvino]'
	@touch $@
