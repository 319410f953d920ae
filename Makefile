# Every operation of the appliance. Settings given here are kept: `make up DETECTOR=yolox_s PORT=8081`.
.DEFAULT_GOAL := help

LIFECYCLE := @python3 compose/lifecycle
TARGETS := $(filter-out help,$(shell sed -n 's/^\([a-z-]*\): .*/\1/p' $(firstword $(MAKEFILE_LIST))))
.PHONY: help $(TARGETS)
# The settings given, past every shell: a value may hold what a shell would take for its own.
export MAKE_SETTINGS := $(MAKEOVERRIDES)

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Check the host, build what isn't built, start, wait until all is healthy; NAME=VALUE settings are kept
stack: ## As up, on a Docker swarm, of which this is a manager; again after a change, replaces one container after the other
down: ## Stop; volumes/ keeps everything
join: ## This machine works for another one's cluster: TOKEN_FILE=join.json of that one, HEAD=host:port
leave: ## It does no longer
restart: ## Stop and start
status: ## Services, model in service, labels and which are not used, open round
doctor: ## Look for what is wrong, everywhere, and name the way out; fails when there are problems; JSON=1
logs: ## The services' logs, followed on a terminal

import: ## Make tasks of new images now; AGAIN=1 of those whose tasks were deleted, too; DATASET= brings labels that exist
predict: ## Propose boxes for every unlabelled image now
retrain: ## Start a round of training (or join the open one) and watch it; Ctrl-C detaches
cancel: ## Cancel the open round
models: ## The model's versions and what became of them
rollback: ## Put an earlier version into service: VERSION=v0001
export: ## Write the labelled images as a dataset: FORMAT=coco, yolo or voc; IMAGES=0 without the images
model: ## Take a version along, as a folder that runs without labelloop: FORMAT=onnx, VERSION=v0001, INT8=1
token: ## A token for programs that send images to POST /detect: NAME=camera; REVOKE=camera; without either a list
report: ## Write what the dashboard shows as one HTML file, below volumes/rounds/reports: FILE=june.html

backup: ## Archive labels, uploads, models, rounds and configs into volumes/backups; IMAGES=1 SECRETS=1 for those too
restore: ## Put an archive's state in and start; what it replaces is kept: FILE=volumes/backups/…
upgrade: ## After a git pull: back up, build, start, and go back if that fails
move-database: ## Take the labels from SQLite over to PostgreSQL, the stack's own or DATABASE_URL=…; SQLite's file is kept
reset: ## Delete labels, models and rounds, after a backup and a question; YES=1 asks nothing
rotate-secrets: ## New secrets, without loss of data; ADMIN=1: and a new password of the admin's

simulate: ## Measure the time that the loop saves a person, on a COCO folder: COCO=DIR, SEEDS=0,1,2; RECORD=1 keeps the figures
demo: ## See the whole loop in six minutes, with made pictures in a project of its own; REMOVE=1 removes it

labels: ## Check a label config, and say what the model recognises: FILE=configs/labels/x.xml; RENAME=cat=feline renames labels

build: ## Build the images (or the host's environments) without starting
publish: ## Build the images and push them: REGISTRY=registry.example.com/labelloop, from which `make up REGISTRY=…` pulls
test: ## Lint, then all tests; TESTS="tests/unit -k boxes" runs those alone
faults: ## Kill, stop, fill and damage everything: it heals; SEED=, KILLS=200
bench: ## Measure against the alternatives: ratios, build/bench/bench.json and bench.png; ONLY=startup COCO=DIR RECORD=1
load: ## Prediction and labelling load on a throw-away stack: SECONDS=300, LABELLERS=20, TASKS=20000
figures: ## The pages of recorded figures anew, from docs/benchmarks/*.json
screenshots: ## The pictures of docs/images/, from a stack of their own; needs a Chromium
gpu-check: ## Check this host's GPU against its CPU, and measure it: a table and build/gpu-check/gpu-check.json
lint: ## ruff and mypy --strict
sbom: ## What is in each image, as CycloneDX: build/sbom/<image>.cdx.json
audit: ## Ask a vulnerability database about every locked package; says so when it can't be reached
lock: ## Resolve the requirements.in files into locks with hashes (needs uv); UPGRADE=1 for newer versions

$(TARGETS):
	$(LIFECYCLE) $@
