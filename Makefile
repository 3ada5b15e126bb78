# The user's verbs. `make` alone lists them. Constants at the top of producer.py and pyspark.py can be overridden:
#   make run SCRIPT_DURATION=60 WINDOW_DURATION="10 seconds" WATERMARK_DURATION="10 seconds"
PYTHON ?= python3
STACK := .local/venv/bin/python local/stack.py

.DEFAULT_GOAL := help
.PHONY: help install run up status down reset test test-docker check

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:
	@$(PYTHON) local/install.py

run: install ## start everything, watch the counts grow until the generator has finished; the stack stays up
	@$(STACK) run

up: install ## start everything in the background; returns when all parts are healthy
	@$(STACK) up

status: install ## how every part is, its memory, counts and lag
	@$(STACK) status

down: install ## stop everything; the data stays
	@$(STACK) down

reset: install ## stop everything and remove all data: Kafka's log, the checkpoint, Druid
	@$(STACK) reset

test: install check ## all tests that need no Docker, end to end on the real Kafka, Spark and Druid included
	@.local/venv/bin/python -m pytest -m "not docker"

test-docker: install ## bring up docker-compose.yml and test it; needs a Docker engine
	@.local/venv/bin/python -m pytest -m docker

check: install ## format, lint and types
	@.local/venv/bin/ruff format --check && .local/venv/bin/ruff check && local/check-types.sh
