# The user's verbs. `make` alone lists them. Constants at the top of producer.py and pyspark.py can be overridden:
#   make run SCRIPT_DURATION=60 WINDOW_DURATION="10 seconds" WATERMARK_DURATION="10 seconds"
PYTHON ?= python3
INSTALLED := .local/venv/bin/python
STACK := $(INSTALLED) local/stack.py

.DEFAULT_GOAL := help
.PHONY: help install run up status verify down reset test chaos test-docker bench check

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:
	@$(PYTHON) local/install.py

$(INSTALLED):
	@echo 'Nothing is installed yet: `make up` installs what is needed and starts the stack.' >&2; exit 1

run: install ## start everything, watch the counts grow until the generator has finished; the stack stays up
	@$(STACK) run

up: install ## start everything in the background; returns when all parts are healthy
	@$(STACK) up

status: $(INSTALLED) ## how every part is, its memory, counts and lag
	@$(STACK) status

verify: $(INSTALLED) ## is every record accounted for, in Kafka and in Druid? WAIT=60 waits for what is under way
	@$(STACK) verify

down: $(INSTALLED) ## stop everything; the data stays
	@$(STACK) down

reset: $(INSTALLED) ## stop everything and remove all data: Kafka's log, the checkpoint, Druid
	@$(STACK) reset

test: install check ## all tests but chaos and Docker, end to end on the real Kafka, Spark and Druid included
	@$(INSTALLED) -m pytest -m "not docker and not chaos"

chaos: install ## kill parts at random for some minutes, under load, and verify; KILLS=30 SEED=... as you like
	@KILLS=$${KILLS:-30} $(INSTALLED) -m pytest -s tests/e2e/test_chaos.py

test-docker: install ## bring up docker-compose.yml and test it; needs a Docker engine
	@$(INSTALLED) -m pytest -m docker

bench: install ## measure side by side with others, for some hours; CASE=producer for one case, ROUNDS=3
	@$(INSTALLED) -m pip install --quiet --disable-pip-version-check --group bench
	@$(INSTALLED) benchmarks/bench.py

check: install ## format, lint and types
	@.local/venv/bin/ruff format --check && .local/venv/bin/ruff check && local/check-types.sh
