# Two commands on a fresh machine with Python and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Test files that run at once, each on one thread.
JOBS ?= 2
PACKAGES := datasets training embeddings metrics selection serving labeling fixmatch experiments report cli

.PHONY: demo test check lint types docs clean
demo: .venv/installed
	$(BIN)/fmsel demo --out demo --force

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: lint types

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	rm -rf build/types && mkdir -p build/types/fmsel
	ln -s $(CURDIR)/src/fmsel/* $(addprefix $(CURDIR)/,$(PACKAGES)) build/types/fmsel
	$(BIN)/mypy -p fmsel
	$(BIN)/mypy tests

docs: .venv/installed
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs docs/_build/html
	@echo "wrote docs/_build/html/index.html"

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # pip would do it on one core
	touch $@

clean:
	rm -rf build docs/_build *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache
