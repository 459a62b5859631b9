# make test : sets everything up and runs all checks          make demo : sets everything up and scores examples/scans
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS ?= 2

.PHONY: test test-slow demo check clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

demo: $(VENV)/.installed
	$(BIN)/medzsad run examples/scans -o out/demo --overwrite
	@echo "Open out/demo/report.html"

clean:
	rm -rf $(VENV) out
