# What people and CI call. `make` alone lists it.
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed
MINUTES ?= 30

.PHONY: help install demo test test-all ready-offline faults soak lint format bench-serving bench-replay docs up down lock clean

help:
	@echo "make install    build the environment, .venv, from requirements.lock"
	@echo "make demo       live through a year of bike rentals: the whole wheel"
	@echo "make up / down  start the platform here (Ctrl-C stops it), or stop it from elsewhere"
	@echo "make test       lint and every test but the slow ones"
	@echo "make test-all   lint and every test"
	@echo "make ready-offline  ask every ready model in every way with the network cut; prints the table (minutes)"
	@echo "make faults     kill, harm, overload and feed bad input to the service; prints the table (an hour)"
	@echo "make soak       mixed load for MINUTES=30; prints how memory moved"
	@echo "make lint       ruff, pyright, import-linter"
	@echo "make format     let ruff arrange the code"
	@echo "make bench-serving  the same model behind this and other servers, with wrk; some 20 minutes"
	@echo "make bench-replay   retraining policies on real and quiet streams; some 15 minutes"
	@echo "make docs       write the pages that are made from code"
	@echo "make lock       write requirements.lock and requirements-serving.lock from the environment"

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "Treadle needs Python 3.11 and there is no '$(PYTHON)' here. Install it, or name it: make install PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "Treadle needs Python 3.11 and '$(PYTHON)' is not one. Name one: make install PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make environments; install its venv module (Debian: apt install python3.11-venv)."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the pinned packages into .venv; the first time this takes minutes …"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --no-deps -e .
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/treadle demo

up: $(INSTALLED)
	@$(BIN)/treadle up

down: $(INSTALLED)
	@$(BIN)/treadle down

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(call tested,not slow and not faults)

test-all: lint
	$(call tested,not faults)

# Real servers on a busy machine miss a deadline now and then. What failed is run once more, alone and in order, as
# CPython's own tests are: a defect fails again, a flake is named and the run passes.
define tested
	@$(BIN)/pytest -n 2 --dist loadgroup -m "$(1)" || { test $$? -eq 1 \
		&& echo "Once more, alone, what failed. If it passes now it is a flake: mend it." \
		&& $(BIN)/pytest --last-failed --last-failed-no-failures none --maxfail 1 -p no:randomly -m "$(1)"; }
endef

ready-offline: $(INSTALLED)
	@$(BIN)/python -m benchmarks.ready_offline

faults: $(INSTALLED)
	FAULTS_LONG=1 $(BIN)/pytest tests/faults -p no:randomly -q --deselect tests/faults/test_soak.py

soak: $(INSTALLED)
	SOAK_MINUTES=$(MINUTES) $(BIN)/pytest tests/faults/test_soak.py -p no:randomly -q

bench-serving: $(INSTALLED) .venv-bench/.installed
	@$(BIN)/python -m benchmarks.serving

# The other servers would change our versions, so they have an environment of their own.
.venv-bench/.installed: benchmarks/requirements-servers.txt
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -r benchmarks/requirements-servers.txt
	@touch $@

bench-replay: $(INSTALLED)
	@$(BIN)/python -m benchmarks.replay

docs: $(INSTALLED)
	$(BIN)/python -m console.reference

lock:
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' > requirements.lock
	$(BIN)/python -m console.lock

clean:
	rm -rf .venv .venv-bench .pytest_cache .ruff_cache .import_linter_cache
