# FACES2 on this machine. Everything that is missing is installed; data/ holds all that is written.
CACHE := $(or $(FACES2_CACHE),$(HOME)/.cache/faces2)
FACES2 := .venv/bin/faces2

.DEFAULT_GOAL := help
.PHONY: help run up down status test faults fuzz bench soak images-check lint lock clean clean-cache bootstrap

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: bootstrap ## start everything and show it live; FOR=60: end after 60 s and check every row
	@$(FACES2) run $(if $(FOR),--for $(FOR))

up: bootstrap ## start everything in the background
	@$(FACES2) up

down: bootstrap ## stop everything; the data stays
	@$(FACES2) down

status: bootstrap ## show the parts
	@$(FACES2) status

test: bootstrap ## every test; starts a stack of its own where one is needed
	@.venv/bin/pytest

faults: bootstrap ## hit the real stack with COUNT=20 random faults of SEED=1 and check every row; FAULT=name: one alone; FLINK=cluster
	@.venv/bin/python -m tests.faults $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(FLINK),--flink $(FLINK)) \
		$(foreach name,$(FAULT),--fault $(name)) $(foreach name,$(WITHOUT),--without $(name))

bench: bootstrap ## measure everything beside a plain consumer and the ceilings; BENCH="--quick" or other options
	@.venv/bin/python -m benchmarks $(BENCH)

fuzz: bootstrap ## rubbish into every entrance; CASES=1000000, SEED=n for the same again; findings go to out/fuzz
	@.venv/bin/python -m tests.fuzz --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

soak: bootstrap ## steady load, what grows is drawn and judged; MINUTES=30, SOAK="--rate 300" or other options
	@.venv/bin/python -m benchmarks.soak --minutes $(or $(MINUTES),30) $(SOAK)

images-check: ## validate docker-compose.yml and build all images on a stand-in base, without Docker (some minutes, as root)
	@tests/images/check.sh "$(CACHE)"

lint: bootstrap ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@cd docs && ../.venv/bin/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache # not from here: mypy would take io/ for the standard library's

lock: bootstrap ## write requirements.lock anew from pyproject.toml
	@.venv/bin/uv pip compile -q --universal --generate-hashes --all-extras -o requirements.lock pyproject.toml

clean: ## stop everything, remove data, .venv and what was built; downloads stay in the cache
	@if [ -x $(FACES2) ]; then $(FACES2) down; fi
	@if [ -x $(FACES2) ] && [ -d out/test-stack/run ]; then FACES2_DATA=out/test-stack $(FACES2) down; fi
	@if mountpoint -q out/faults/stack/timescaledb; then umount out/faults/stack/timescaledb; fi
	rm -rf data .venv build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

clean-cache: ## remove the downloads, too
	rm -rf "$(CACHE)"

bootstrap:
	@stack/bootstrap.sh
