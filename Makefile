# Every target sets up what it needs. Wanted on the machine: Python 3.11 or newer, and make.
# Any user may run this; nothing is installed outside this folder.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
WORKERS ?= 2
ARGS =
DATA =

PIP = $(BIN)/python -m pip --no-input --disable-pip-version-check -q
INSTALL = $(PIP) install --progress-bar off

# Nothing here reports home.
export DAGSTER_DISABLE_TELEMETRY = true
export MLFLOW_DISABLE_TELEMETRY = true
export BENTOML_DO_NOT_TRACK = True
export DO_NOT_TRACK = 1

.PHONY: help setup demo test check lint types imports format docs site protocol dev bento serve bench lock clean distclean
.SUFFIXES:

help:
	@echo "make demo              from nothing to a served price, on a simulated market"
	@echo "make demo DATA=folder  the same on your own tables (see README.md)"
	@echo "make test              all tests          (ARGS='-k name' for some of them)"
	@echo "make check             lint, format, types, import rule"
	@echo "make dev               Dagster's page on 127.0.0.1:3000, MLflow's on 127.0.0.1:5000"
	@echo "make serve             the price service: HTTP on 127.0.0.1:8080"
	@echo "make bento             the price service as a Bento; prints its folder"
	@echo "make bench             the benchmarks; writes benchmarks/results.json"
	@echo "make format            mend lint and format where that can be done by itself"
	@echo "make docs              write the configuration tables anew from core/settings.py"
	@echo "make site              the documents as a site in build/site"
	@echo "make protocol          make the modules of gRPC anew from serving/protocol/pricing.proto"
	@echo "make lock              compile requirements.lock anew from pyproject.toml"
	@echo "make clean             remove caches and the demo's folder (distclean: .venv as well)"

setup: $(VENV)/installed.toml

# The stamp is a copy of the lock: a checkout that only touches the file installs nothing.
$(VENV)/installed.lock: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11:" \
	    "$$($(PYTHON) --version 2>&1). Name a newer one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@if cmp -s requirements.lock $@; then touch $@; else \
	  test -x $(BIN)/python || { echo "[1/3] making $(VENV) with $$($(PYTHON) --version)"; \
	    $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	      echo "error: $(PYTHON) cannot make a virtual environment" \
	        "(on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 2; }; }; \
	  echo "[2/3] installing $$(grep -c '^[a-z]' requirements.lock) locked packages (1 to 5 minutes," \
	    "once; quiet until done)"; \
	  $(INSTALL) -r requirements.lock && cp requirements.lock $@; fi

$(VENV)/installed.toml: $(VENV)/installed.lock pyproject.toml
	@if cmp -s pyproject.toml $@; then touch $@; else \
	  echo "[3/3] installing this project into $(VENV)"; \
	  $(INSTALL) --no-deps --no-build-isolation -e . && cp pyproject.toml $@; fi

demo: setup
	@DATA='$(DATA)'; $(BIN)/python -m pricing_assets.demo $${DATA:+--data "$$DATA"} $(ARGS)

test: setup
	@echo "running the tests on $(WORKERS) workers"
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: lint types imports

lint: setup
	@echo "== lint";         $(BIN)/ruff check --quiet .
	@echo "== format";       $(BIN)/ruff format --check --quiet .

types: setup
	@echo "== types";        $(BIN)/mypy

imports: setup
	@echo "== import rule";  $(BIN)/lint-imports --no-logo

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup
	@$(BIN)/python docs/generate_configuration.py

# The documents as pages in build/site; nothing is loaded from outside when they are read.
site: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "the site is in build/site: open build/site/index.html"

# tests/test_grpc.py compares the modules with what this makes.
protocol: setup
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
	  serving/protocol/pricing.proto

dev: setup
	@$(BIN)/pricing dev $(ARGS)

# Prints the folder of the new Bento on its last line; nothing is asked of the network.
bento: setup
	@$(BIN)/python deploy/service/write_requirements.py
	@$(BIN)/bentoml get --output path "$$($(BIN)/bentoml build --output tag 2>/dev/null \
	  | sed -n 's/^__tag__://p')"

serve: setup
	@$(BIN)/pricing serve $(ARGS)

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

# A resolver may write torch's local version (2.13.0+cpu), which no other machine could install.
lock: setup
	@echo "compiling requirements.lock for Python 3.11"
	@command -v uv >/dev/null 2>&1 || test -x $(BIN)/uv || $(INSTALL) uv
	@PATH="$$PATH:$(BIN)"; uv pip compile pyproject.toml --extra dev --python-version 3.11 \
	  --quiet --custom-compile-command "make lock" -o requirements.lock.new
	@sed 's/^\(torch==[0-9.]*\)+[a-z0-9.]*/\1/' requirements.lock.new > requirements.lock
	@rm requirements.lock.new
	@echo "requirements.lock written; now: make test"

clean:
	rm -rf .demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis \
	  .import_linter_cache .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) pricing_assets.egg-info
