# safeloop: each target sets up what it needs; a second call does no work again.
# GYMNASIUM=1 after any of them: with Gymnasium 1.x in place of 0.29.1, in a virtual environment of its own.
PYTHON ?= python3
VENV := .venv$(GYMNASIUM:%=-gymnasium%)
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PINS := requirements/python$(VERSION).txt
INSTEAD := $(GYMNASIUM:%=requirements/gymnasium%.txt)
READY := $(VENV)/.ready-$(VERSION)
DOCS := .venv-docs
OUT ?= runs
# on the full disk that this test makes, coverage can't write its data either, and says so in the run's log
FULL_DISK := tests/cli/test_faults.py::test_a_run_that_can_not_write_is_one_line_and_goes_on_later_and_those_beside_it_are_not

.DEFAULT_GOAL := help
.PHONY: help setup run test test-property test-slow coverage bench lint format docs reports clean

help:  ## show this text
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(READY): $(PINS) $(INSTEAD) requirements/no-deps.txt requirements/dev.txt requirements/dev-no-deps.txt requirements/uv.txt \
		pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -r $(PINS) -r requirements/dev.txt
	$(BIN)/python -m pip install -q --no-deps $(INSTEAD:%=-r % )-r requirements/no-deps.txt -r requirements/dev-no-deps.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -r requirements/uv.txt || echo "Claw is left out"
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/safeloop doctor
	@touch $@

requirements/python%.txt:
	@echo "requirements/ has sets for Python 3.10 to 3.13; found $(VERSION). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2

requirements/gymnasium%.txt:
	@echo "GYMNASIUM=$(GYMNASIUM): expected 1, or nothing for the default, 0.29.1"; exit 2

setup: $(READY)  ## install everything into .venv (GYMNASIUM=1: into .venv-gymnasium1)

run: $(READY)  ## the main job: safeloop, CPO and PPO-Lagrangian on PointGoal1, table and pictures in runs/
	$(BIN)/safeloop run PointGoal1 --out $(OUT)

test: $(READY)  ## the fast tests (TESTS=tests/envs: those of the environments alone)
	$(BIN)/python -m pytest -n 2 $(TESTS)

test-property: $(READY)  ## 10,000 random and mutated inputs: success or one line
	$(BIN)/python -m pytest tests/property --hypothesis-profile=all --hypothesis-show-statistics

test-slow: $(READY)  ## the learning-regression tests
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal

coverage: $(READY)  ## the fast tests, and which lines they and the processes that they start reach
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered $(FULL_DISK:%=--deselect %) $(TESTS)

bench: $(READY)  ## how fast planner, environment and training are here, beside their bounds and OmniSafe
	$(BIN)/safeloop speed all --against omnisafe

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The sources are read, not imported: the site itself needs nothing of what safeloop needs, the reports in it do.
$(DOCS)/.ready-$(VERSION): requirements/docs.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install -q -r requirements/docs.txt
	@touch $@

docs: reports $(DOCS)/.ready-$(VERSION)  ## the pages of docs/ and the API reference as a site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

reports: $(READY)
	$(BIN)/safeloop report results/safe results/safe/lidar results/safe/positions results/safe/points \
		results/safe/points/positions --out docs/report/safe.html --title "Tasks with a cost" --quiet
	$(BIN)/safeloop report results/rc_car results/rc_car/baselines --out docs/report/rc-car.html --title "RC car" --quiet
	$(BIN)/safeloop report results/safety-navigation-1@1 --out docs/report/safety-navigation-1.html \
		--title "Three tasks of safety-navigation-1@1" --quiet
	$(BIN)/safeloop report results/online --out docs/report/online.html --title "Tasks without a cost" --quiet

clean:  ## remove the virtual environments and the site (results are kept)
	rm -rf .venv .venv-gymnasium1 $(DOCS) site
