# make demo      learn the sample word and write the report
# make review    read, edit and approve the captions on a local web page
# make serve     a form for every flow on a local web page, and the workers behind it
# make test      the fast tests
# make test-slow the tests that take minutes
# make lint      ruff and mypy
# make compare   what differs between the runs and experiments here, on one page
# make experiments  a table of the experiments, the best first
# make bench     how fast a word is trained, beside the usual loop
# make gpu       tests, speed and memory on a GPU, in eight minutes
# make toyworld  train the embedded base model again
# Each makes .venv when it is missing or older than the dependencies. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: demo review serve test test-slow lint compare experiments bench gpu toyworld clean without-git .venv

export PATH := $(CURDIR)/.venv/bin:$(PATH)

demo: .venv without-git
	python -m dvc repro
	@echo "The report: outputs/report/index.html"

review: .venv without-git
	python -m dvc repro caption
# For the findings that curate alone makes. What stops it, such as captions that are not approved yet, is no hindrance.
	@python -m dvc repro curate || echo "The page opens all the same."
	python -m pseudoword review

serve: .venv without-git
	python -m flows.serve

test: .venv
	python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: .venv
	python -m pytest -m 'slow and not gpu and not network'

lint: .venv
	ruff check && ruff format --check && mypy --strict

compare: .venv
	python -m pseudoword compare . --all

# Of some 200 columns the dozen that one reads: how good, how dear, and what was changed.
experiments: .venv
	python -m dvc exp show --only-changed --sort-by chosen.score --sort-order desc \
		--drop '(outputs|data|models|templates)/.*|(init|low|high|cost|swept|versions|metrics)\..*|Executor|State|Created|.*\.(loss|similarity|variety|copying|overbaked|broken)'

bench: .venv
	python -m bench.train

gpu: .venv
	python -m bench.gpu

# A DVC project of its own, so that the pipeline never trains its base model.
toyworld: .venv
	cd toyworld && python -m dvc repro

clean:
	rm -rf .venv .scratch .pytest_cache .mypy_cache .ruff_cache .hypothesis pseudoword.egg-info

# An unpacked archive is no git repository, which DVC has to be told. It is taken back when there is one, by
# `dvc config --local --unset core.no_scm`: `dvc exp` needs git.
without-git: .venv
	@git rev-parse --git-dir >/dev/null 2>&1 || python -m dvc config --local core.no_scm true

# A stamp inside, so that an interrupted installation is not taken for a finished one.
.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit(f"$(PYTHON) is {sys.version.split()[0]}; pseudoword needs 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv, one dot per package; the first time takes minutes"
	@python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' | awk '/^(Collecting|Installing)/ { printf "."; fflush() } END { print "" }'
	@touch $@
