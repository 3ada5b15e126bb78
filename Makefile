# The commands for users and developers. `make` alone lists them. Variables override the constants at the top of the scripts:
#   make run SCRIPT_DURATION=60 WINDOW_DURATION="10 seconds" WATERMARK_DURATION="10 seconds"
PYTHON ?= python3
VENV := .local/venv/bin
INSTALLED := $(VENV)/python
# -E and -X: what a user's shell sets for another Python doesn't count, and files are UTF-8.
STACK := $(INSTALLED) -E -X utf8 local/stack.py
INSTALL = $(PYTHON) -E -X utf8 local/install.py
PYTEST := $(INSTALLED) -m pytest
# Most tests wait for something. A file's tests run in one process, one after the other.
TWO_AT_ONCE := --numprocesses 2 --dist loadfile
# The slow ones, in the order that tests/conftest.py gives them. Each process has a stack of its own.
WORKERS ?= 3
WORKERS_AT_ONCE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
UNMARKED := -m "not docker and not cluster and not chaos and not dashboard"
# A package has the same version everywhere: uv resolves all folders together first, and then each folder with these versions.
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
# Superset has a virtual environment of its own, with older packages and on an older Python.
REQUIREMENTS := $(filter-out superset/%,$(wildcard */requirements.in tests/*/requirements.in)) requirements-dev.in

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install packages run up doctor replay status verify dashboard down reset lint format render unit integration \
  e2e test chaos test-docker test-cluster test-dashboard bench requirements

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## install everything that the mode without Docker needs and that is missing
	@$(INSTALL)

packages: ## install the Python packages only, for unit and format (and, with Java, for lint and render)
	@$(INSTALL) --packages

$(INSTALLED):
	@echo 'Nothing is installed yet: `make up` installs what is needed and starts the stack.' >&2; exit 1

run: install ## start everything and show the counts until the generator has finished; the stack stays up
	@$(STACK) run

up: install ## start everything in the background; returns when all services are healthy
	@$(STACK) up

doctor: ## name what is wrong with this machine, the settings or the running stack, each with its remedy
	@$(INSTALL) --check; code=$$?; if [ -e $(INSTALLED) ]; then $(STACK) doctor || code=$$?; fi; exit $$code

replay: $(INSTALLED) ## send a recording to the running stack: FILE=recordings/trip.csv MAP=trip.toml; REPLAY_DRY_RUN=true shows it
	@$(STACK) replay

status: $(INSTALLED) ## show the health, the memory, the counts and the lag of every service
	@$(STACK) status

verify: $(INSTALLED) ## check that every record is accounted for, in Kafka and in Druid; WAIT=60 waits, FULL=1 reads all again
	@$(STACK) verify

dashboard: $(INSTALLED) ## show the data in Apache Superset, on the running stack; installs it first (800 MB)
	@$(STACK) dashboard

down: $(INSTALLED) ## stop everything and keep the data
	@$(STACK) down

reset: $(INSTALLED) ## stop everything and remove all data: Kafka's log, the checkpoint, Druid's data
	@$(STACK) reset

lint: packages ## check format, code and types, and, with Spark, that the rendered files are up to date
	@$(VENV)/ruff format --check && $(VENV)/ruff check && $(INSTALLED) -m mypy && \
	  $(INSTALLED) -m mypy --python-version 3.10 common pyspark superset && $(INSTALLED) schemas/render.py --check

format: packages ## format the code and apply automatic fixes
	@$(VENV)/ruff format && $(VENV)/ruff check --fix

render: packages ## write the files derived from schemas/, with Spark: Druid's specs, the README's table and others
	@$(INSTALLED) schemas/render.py

unit: packages ## run the unit tests, without Java: about a minute
	@$(PYTEST) tests/unit $(TWO_AT_ONCE)

integration: install ## test the windows job on Spark, and the services on a Kafka with a login
	@$(PYTEST) tests/integration $(WORKERS_AT_ONCE)

e2e: install ## test the whole pipeline on Kafka, Spark and Druid, on its own ports and in its own folders; WORKERS=1
	@$(PYTEST) tests/e2e $(UNMARKED) $(WORKERS_AT_ONCE)

test: lint unit install ## run lint, unit, integration and e2e: all except chaos, cluster, dashboard and those with Docker
	@$(PYTEST) tests/e2e tests/integration $(UNMARKED) $(WORKERS_AT_ONCE)

chaos: install ## kill, stop and restart services at random under load, verify every window; KILLS=30, SEED=...
	@KILLS=$${KILLS:-30} $(PYTEST) -s tests/e2e -m chaos

test-docker: install ## start docker-compose.yml and test it; needs a Docker engine
	@$(PYTEST) tests/e2e -m docker

test-cluster: install ## start a cluster on this machine, without and with Docker, and kill its parts
	@$(PYTEST) tests/e2e -m cluster

test-dashboard: install ## start Superset on a stack, query every chart, and look at the dashboard in Chromium
	@$(PYTEST) tests/e2e -m dashboard

bench: install ## compare this project with others, which takes hours; CASE=producer runs one case; ROUNDS=3
	@$(INSTALLED) -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@$(INSTALLED) benchmarks/bench.py

requirements: ## pin the packages of every requirements.in with hashes; needs uv; UPGRADE=1 takes newer versions
	@export UV_CUSTOM_COMPILE_COMMAND='make requirements  # uv pip compile --universal --python-version 3.11 --generate-hashes' \
	  && all=.local/requirements.txt && mkdir -p .local && cat $(wildcard $(REQUIREMENTS:.in=.txt)) > $$all \
	  && $(UV_COMPILE) $(if $(UPGRADE),--upgrade) $(REQUIREMENTS) -o $$all \
	  && for file in $(REQUIREMENTS); do \
	    cp $$all $${file%.in}.txt && $(UV_COMPILE) $$file -o $${file%.in}.txt || exit 1; \
	  done \
	  && $(subst 3.11,3.10,$(UV_COMPILE)) $(if $(UPGRADE),--upgrade) superset/requirements.in -o superset/requirements.txt
