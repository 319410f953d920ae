# Every operation of the appliance. Settings given here are kept: `make up DETECTOR=yolox_s PORT=8081`.
.DEFAULT_GOAL := help
.PHONY: help up down restart status logs import predict retrain cancel models rollback export simulate demo build test bench lint lock

LIFECYCLE := @python3 compose/lifecycle
TARGETS := up down restart status logs import predict retrain cancel models rollback export simulate demo build test bench lint lock

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Check the host, build what isn't built, start, wait until all is healthy; NAME=VALUE settings are kept
down: ## Stop; volumes/ keeps everything
restart: ## Stop and start
status: ## Services, model in service, labels, open round
logs: ## The services' logs, followed on a terminal

import: ## Make tasks of new images in volumes/images now, instead of within a minute
predict: ## Propose boxes for every unlabelled image now
retrain: ## Start a round of training (or join the open one) and watch it; Ctrl-C detaches
cancel: ## Cancel the open round
models: ## The model's versions and what became of them
rollback: ## Put an earlier version into service: VERSION=v0001
export: ## Write the labelled images as a dataset: FORMAT=coco, yolo or voc
simulate: ## Measure the clicks that the loop saves on a COCO folder: COCO=DIR, SEEDS=0,1,2, ORDERS=uncertainty,random
demo: ## See the whole loop in ten minutes, with made pictures in a project of its own; REMOVE=1 removes it

build: ## Build the images (or the host's environments) without starting
test: ## Lint, then all tests; TESTS="tests/unit -k boxes" runs those alone
bench: ## Measure against the alternatives: ratios, build/bench/bench.json and bench.png; ONLY=startup COCO=DIR
lint: ## ruff and mypy --strict
lock: ## Resolve the requirements.in files into locks with hashes (needs uv); UPGRADE=1 for newer versions

$(TARGETS):
	$(LIFECYCLE) $@ $(MAKEOVERRIDES)
