# Everything works on a fresh clone with Python >= 3.11 and make; uv is installed into .tools if it is not there.
UV := $(or $(shell command -v uv),.tools/bin/uv)
EXTRAS := --all-extras --no-extra tensorboard --no-extra wandb --no-extra mlflow
RUN := $(UV) run --frozen $(EXTRAS)

.PHONY: setup demo test test-slow lint format

setup: .venv/.complete

$(filter .tools/bin/uv,$(UV)):
	python3 -m venv .tools
	.tools/bin/pip install --quiet uv

.venv/.complete: uv.lock pyproject.toml | $(filter .tools/bin/uv,$(UV))
	$(UV) sync --frozen $(EXTRAS)
	touch $@

demo: setup
	$(RUN) python experiments/demo/run.py

test: setup
	$(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(RUN) pytest -m slow

lint: setup
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pyright

format: setup
	$(RUN) ruff check --fix
	$(RUN) ruff format
