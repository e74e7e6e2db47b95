# Needs Python 3.11 or newer, git and make; everything else goes into the folder .venv.

VENV ?= .venv
BIN := $(VENV)/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
# Both names: older pip holds the build back end to the first, newer pip to the second.
INSTALL = PIP_CONSTRAINT=$(1) PIP_BUILD_CONSTRAINT=$(1) $(2)/bin/python -m pip install --quiet --disable-pip-version-check
PIP := $(call INSTALL,constraints.txt,$(VENV))

ENGINE_TESTS := pytest hypothesis

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-sail test-spark test-spark-all test-connect test-cluster quick lint docs fuzz sbom bench-quality bench-smearing bench-scale clean bench

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

venv: $(VENV)/.dev  ## environment with everything needed to work on the code

demo: $(VENV)/.run  ## environment, a small made-up world, its analysis and the report
	$(BIN)/hydragraph demo demo --force

test: lint  ## environment and everything CI runs
	$(BIN)/python -m pytest -n 2 --dist loadgroup
	@$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) test-sail test-spark

test-sail: $(VENV)/.sail  ## tests of the Spark engine on Sail, in an environment of its own
	HYDRAGRAPH_SPARK=sail $(VENV)/sail/bin/python -m pytest tests/engines

test-spark: $(BIN)/python  ## the essential tests of the Spark engine on PySpark with two cores; needs Java 17
	@$(WITH_JAVA) HYDRAGRAPH_SPARK='local[2]' $(VENV)/spark/bin/python -m pytest tests/engines -m essential

test-spark-all: $(BIN)/python  ## all of them on PySpark; a quarter of an hour
	@$(WITH_JAVA) HYDRAGRAPH_SPARK='local[2]' $(VENV)/spark/bin/python -m pytest tests/engines

test-connect: $(BIN)/python  ## the essential ones on Spark's own Connect server; needs Java 17
	@$(WITH_JAVA) HYDRAGRAPH_SPARK=connect $(VENV)/spark/bin/python -m pytest tests/engines -m essential

test-cluster: $(BIN)/python  ## the Spark engine on a cluster of three processes, one of which is killed; needs Java 17
	@$(WITH_JAVA) HYDRAGRAPH_SPARK=cluster $(VENV)/spark/bin/python -m pytest tests/engines/test_spark_cluster.py

quick: $(VENV)/.dev  ## tests without the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

lint: $(VENV)/.dev  ## style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.dev  ## make the generated parts, transcripts and pictures of the documentation again
	$(BIN)/python tests/make_docs.py

fuzz: $(VENV)/.dev  ## mutated files through every reader for SECONDS (600); says how many
	$(BIN)/python tests/fuzzing.py --seconds $(or $(SECONDS),600)

sbom: $(VENV)/.dev  ## write sbom.json, the software bill of materials (CycloneDX)
	$(BIN)/python tests/make_sbom.py sbom.json

bench-smearing: $(VENV)/.dev  ## measure how many smearing accounts it takes until innocent ones are accused
	$(BIN)/python benchmarks/smearing.py

bench: $(VENV)/.peers  ## measure time, memory and growth and write docs/performance.md; a quarter of an hour
	$(BIN)/python benchmarks/speed.py $(if $(SIZES),--sizes $(SIZES))

bench-quality: $(VENV)/.dev  ## measure detection on made-up worlds and write docs/quality.md; half an hour
	$(BIN)/python benchmarks/quality.py $(if $(OTHERS),--others $(OTHERS)) $(if $(REAL),--real $(REAL))

bench-scale: $(BIN)/python  ## measure the Spark engine up to 8 million accounts and write docs/scale.md; hours; SAIL=1: on Sail
ifdef SAIL
	@$(MAKE) --no-print-directory $(VENV)/.sail
	$(VENV)/sail/bin/python benchmarks/scale.py --sail $(if $(WITHOUT_EVENTS),--without-events)
else
	@$(WITH_JAVA) $(VENV)/spark/bin/python benchmarks/scale.py $(if $(WITHOUT_EVENTS),--without-events)
endif

clean:  ## remove the environment and everything made from the sources
	rm -rf $(VENV) demo dist build sbom.json fuzz-findings .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find graphs cli tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing hydragraph into $(VENV); the first time takes a minute."
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing hydragraph and its development tools into $(VENV); the first time takes a minute."
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.run

# what is measured beside hydragraph by `make bench`, and nothing else uses; igraph is under the GPL: whoever wants it installs it
$(VENV)/.peers: $(VENV)/.dev
	$(PIP) pandas scikit-network
	@touch $@

# PySpark is half a gigabyte and of no use without Java: its environment is made only where that is
WITH_JAVA = missing=$$($(BIN)/python tests/engines/servers.py) || exit 1; if [ -n "$$missing" ]; then \
	echo "skipped: $$missing"; exit 0; fi; MAKEFLAGS= $(MAKE) --no-print-directory VENV=$(VENV) $(VENV)/.spark || exit 1;

$(VENV)/.spark: pyproject.toml constraints-spark.txt | $(BIN)/python
	@echo "Installing hydragraph and PySpark into $(VENV)/spark; the first time takes some minutes."
	$(BIN)/python -m venv $(VENV)/spark
	$(call INSTALL,constraints-spark.txt,$(VENV)/spark) --editable ".[spark]" $(ENGINE_TESTS)
	@touch $@

$(VENV)/.sail: pyproject.toml constraints-sail.txt | $(BIN)/python
	@echo "Installing hydragraph and Sail into $(VENV)/sail; the first time takes a minute."
	$(BIN)/python -m venv $(VENV)/sail
	$(call INSTALL,constraints-sail.txt,$(VENV)/sail) --editable . pysail pyspark-client pandas pyarrow "moto[s3]" flask flask-cors $(ENGINE_TESTS)
	@touch $@

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
