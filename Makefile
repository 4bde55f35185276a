# The commands of the README. `make run` and `make test` need Python 3.11 to 3.13, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TZ := UTC
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.PHONY: run ui test test-slow test-all check format lock clean

run: $(VENV)/.installed ## deliver January–October 2013, run the product, print a summary
	@$(BIN)/ap deliver flight_delays --from 2013-01-01 --through 2013-10-31
	@$(BIN)/ap run flight_delays

ui: $(VENV)/.installed ## the Dagster web UI and its daemon on 127.0.0.1:3000
	@$(BIN)/ap ui --port 3000

test: $(VENV)/.installed-dev ## every test but the long ones; under 12 minutes on 2 cores
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not load"

test-slow: $(VENV)/.installed-dev ## the long tests that .ci/run has time for
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not load"

test-all: $(VENV)/.installed-dev ## every test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# pip is told not to resolve: the lock is complete, and hashes are checked for every file.
$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Installing the locked dependencies into $(VENV); a minute or two the first time …"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@echo "Installing the locked tools for tests and checks …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

lock: ## resolve anew for Python 3.11 to 3.13; needs uv
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-header --no-emit-index-url -q -o requirements.lock
	uv pip compile pyproject.toml --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-header --no-emit-index-url -q -o requirements-dev.lock

clean:
	rm -rf $(VENV)
