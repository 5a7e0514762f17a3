# Every target needs only python3: it creates its virtual environment and installs what it needs.
# ARGS is passed to the command: make demo ARGS=--keep-running, make test ARGS="-k ledger", make bench ARGS=--memory
# PYTHON=python3.13 uses another Python, with its own environments: .venv-3.13, .venv-bench-3.13, ...
PYTHON ?= python3
SUFFIX := $(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
VENV ?= .venv$(SUFFIX)
BENCH_VENV ?= .venv-bench$(SUFFIX)
DOCS_VENV ?= .venv-docs$(SUFFIX)
DIST_VENV ?= .venv-dist$(SUFFIX)

# Compiled modules are kept whatever the environment says: the tests start hundreds of processes that import EVKafka.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long fuzz soak verify mutants check lock bench docs dist

demo: $(VENV)/.for-demo
	$(VENV)/bin/python -m examples.flights.demo $(ARGS)

# Four processes, each with its own Kafka, because many tests wait; with six, two cores are slower; `pytest` alone runs one test at a time.
test: $(VENV)/.for-development
	$(VENV)/bin/pytest -n 4 --dist worksteal $(ARGS)

test-long: $(VENV)/.for-development
	$(VENV)/bin/pytest -n 2 --dist worksteal -m long $(ARGS)

# Ten minutes of random records and configurations; EVKAFKA_FUZZ_MINUTES or ARGS="--minutes 60" for more.
fuzz: $(VENV)/.for-development
	$(VENV)/bin/python -m tests.fuzz $(ARGS)

# An hour of load with failures and rebalances; ARGS="--minutes 10" is the short form. Exits with 1 on growth or lag.
soak: $(VENV)/.for-development
	$(VENV)/bin/python -m tools.soak $(ARGS)

# Five minutes of faults for each of three seeds. Exits with 1 if a record is lost or out of order, or more than 1 % are
# handled again.
verify: $(VENV)/.for-development
	for seed in 1 2 3; do \
	  $(VENV)/bin/evkafka verify --minutes 5 --processes 3 --max-duplicates 1 --seed $$seed $(ARGS) || exit 1; \
	done

# Breaks the source in small ways, one at a time. Exits with 1 if no test fails for one. ARGS="--only commit" for a part.
mutants: $(VENV)/.for-development
	$(VENV)/bin/python -m tools.mutants $(ARGS)

check: $(VENV)/.for-development
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/bandit -q -c pyproject.toml -r src tools examples
	$(VENV)/bin/python -m tools.audit

# Renews uv.lock: the newest versions that pyproject.toml allows.
lock: | $(VENV)/bin/python
	$(VENV)/bin/pip install -q uv
	$(VENV)/bin/uv lock --upgrade --default-index https://pypi.org/simple $(ARGS)

bench: $(BENCH_VENV)/.for-bench
	$(BENCH_VENV)/bin/python -m bench $(ARGS)

docs: $(DOCS_VENV)/.for-docs
	PYTHONPATH=. $(DOCS_VENV)/bin/python -m tools.reference
	$(DOCS_VENV)/bin/zensical build --strict $(ARGS)

dist: $(DIST_VENV)/.for-dist
	$(DIST_VENV)/bin/python -m tools.dist $(ARGS)

# A stamp file marks a complete environment; a change of pyproject.toml updates the environment.
$(VENV)/.for-demo: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e '.[broker,web,metrics]'
	@touch $@

# The newest versions that pyproject.toml allows; with LOCKED=1 exactly those of uv.lock, by hash.
$(VENV)/.for-development: pyproject.toml uv.lock | $(VENV)/bin/python
	$(VENV)/bin/pip install -q --upgrade 'pip>=25.1'  # dependency groups
ifdef LOCKED
	$(VENV)/bin/pip install -q uv
	$(VENV)/bin/uv export -q --frozen --no-emit-project --group dev -o $(VENV)/locked.txt
	$(VENV)/bin/pip install -q --require-hashes -r $(VENV)/locked.txt
	$(VENV)/bin/pip install -q --no-deps -e .
else
	$(VENV)/bin/pip install -q -e . --group dev
endif
	@touch $@

$(BENCH_VENV)/.for-bench: pyproject.toml bench/requirements.txt | $(BENCH_VENV)/bin/python
	$(BENCH_VENV)/bin/pip install -q -e '.[broker,web,metrics,tracing,speed]' -r bench/requirements.txt
	@touch $@

$(DOCS_VENV)/.for-docs: pyproject.toml | $(DOCS_VENV)/bin/python
	$(DOCS_VENV)/bin/pip install -q --upgrade 'pip>=25.1'
	$(DOCS_VENV)/bin/pip install -q -e '.[cli]' --group docs  # the reference of the commands comes from their --help
	@touch $@

$(DIST_VENV)/.for-dist: pyproject.toml | $(DIST_VENV)/bin/python
	$(DIST_VENV)/bin/pip install -q --upgrade 'pip>=25.1'
	$(DIST_VENV)/bin/pip install -q --group dist
	@touch $@

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("EVKafka needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $*
