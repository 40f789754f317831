# The two commands of a fresh clone are `make demo` and `make test`; `make help` lists all of them.

PYTHON ?= python3
DEMO_MINUTES ?= 4
PYTEST_ARGS ?=
# `logical`: one process for each processor, four at most. 0 = in pytest itself, as debuggers need.
TEST_PROCESSES ?= logical
# Asked only on Linux without an NVIDIA GPU, and only if pip's own indexes have no CPU build.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12  the interpreter of the new .venv (3.10 or newer)"
	@echo "  DEMO_MINUTES=4     time budget of the demo's training"
	@echo "  PYTEST_ARGS=...    further arguments of pytest"
	@echo "  TEST_PROCESSES=0   tests in one process"

install: $(STAMP) ## Create .venv with everything that demo and test need

$(STAMP): setup.cfg pyproject.toml constraints.txt .ci/install.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" TORCH_CPU_INDEX="$(TORCH_CPU_INDEX)" sh .ci/install.sh
	@touch $@

demo: $(STAMP) ## Fine-tune the shipped network on real photographs, evaluate, draw a picture
	@rm -rf runs/demo
	@$(BIN)/python examples/train_demosaic.py --config configs/finetune.yaml \
		--max-minutes $(DEMO_MINUTES) --out runs/demo

test: $(STAMP) ## Run all tests
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Repair style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove .venv and what builds and tests leave
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
