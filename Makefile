# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ILSVRC := runs/benchmarks/ilsvrc

# each end of what pyproject.toml allows has an environment of its own
OLDEST := .venv-oldest
LATEST := .venv-latest
# what meets other people's code: hostile files, names, readers, the run folder, statistics, rules, the command line.
# Not the whole suite (some minutes instead of many); `make test-latest` runs all of it.
OLDEST_TESTS := tests/flows/test_hostile_run.py tests/pipeline/inputs/test_limits.py tests/test_names.py \
  tests/pipeline/inputs/test_models.py tests/pipeline/inputs/test_datasets.py tests/pipeline/run \
  tests/pipeline/statistics/test_ranking.py tests/reports/gate tests/explainers/rules tests/flows/test_cli.py \
  tests/flows/test_schedule.py

.PHONY: demo gate-jobs docs screenshots test test-oldest test-latest check fuzz kill runners schedules soak package format benchmarks clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/hansaudit demo --out runs/demo

# The three jobs of docs/ci: a clean network passes (0), a Clever Hans fails (1), what nobody tested is inconclusive (4).
gate-jobs: $(STAMP)
	@for job in clean:0 clever-hans:1 untested:4; do \
	  network=$${job%:*}; out=runs/gate-jobs/$$network; \
	  $(BIN)/python docs/ci/planted.py $$network $$out && \
	  $(BIN)/hansaudit run --config $$out/audit.toml --out $$out/run || exit 1; \
	  code=0; $(BIN)/hansaudit gate $$out/run --policy docs/ci/gate.toml --junit $$out/gate.xml || code=$$?; \
	  test $$code -eq $${job#*:} || { echo "$$network: exit code $$code"; exit 1; }; \
	done

# The documentation as a site, every link and anchor checked: build/site/index.html
docs: $(STAMP)
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The pictures of pages in docs/images again, from planted data (some minutes, headless Chromium): look at each.
screenshots: $(STAMP)
	$(BIN)/python -m docs.screenshots

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whole files go to the processors: what tests of a file share (a server, a run, a network) is made once.
test: check
	$(BIN)/python -m pytest -q --numprocesses logical --maxprocesses 4 --dist loadfile

# The exact minima of all dependencies (constraints-oldest.txt, Python 3.11): the oldest Keras must refuse hostile files.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -q $(OLDEST_TESTS)

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable . \
	  pytest hypothesis statsmodels
	touch $@

# The newest releases of everything, whatever they are today; the whole suite.
test-latest:
	test -d $(LATEST) || $(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	$(LATEST)/bin/python -m pytest -q

# Every figure of the README and of docs/; alone on the machine, about an hour on 2 cores. The last seven need the
# real files: make benchmarks HANSAUDIT_ILSVRC=folder (with squeezenet_v1.1.keras and the archives).
benchmarks: $(STAMP)
	$(BIN)/python -m benchmarks.lrp --networks vgg16 resnet50 squeezenet efficientnet_lite0
	$(BIN)/python -m benchmarks.figure4 --network squeezenet
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.ranking_speed
	$(BIN)/python -m benchmarks.canary --seeds 10
ifdef HANSAUDIT_ILSVRC
	test -d $(ILSVRC) || $(BIN)/hansaudit prepare ilsvrc2012 --out $(ILSVRC) \
	  --images $(HANSAUDIT_ILSVRC)/ILSVRC2012_img_val.tar --boxes $(HANSAUDIT_ILSVRC)/ILSVRC2012_bbox_val_v3.tgz
	HANSAUDIT_ILSVRC=$(HANSAUDIT_ILSVRC) $(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.end_to_end $(ILSVRC) $(HANSAUDIT_ILSVRC)/squeezenet_v1.1.keras --method lrp.epsilon_gamma_box
	$(BIN)/python -m benchmarks.end_to_end $(ILSVRC) ResNet50 --weights none --method lrp.preset_a --limit 96 --repeats 2
	$(BIN)/python -m benchmarks.start_up $(ILSVRC) $(HANSAUDIT_ILSVRC)/squeezenet_v1.1.keras --method lrp.epsilon_gamma_box
	$(BIN)/python -m benchmarks.start_up $(ILSVRC) ResNet50 --weights none --method lrp.preset_a
	$(BIN)/python -m benchmarks.memory $(ILSVRC) $(HANSAUDIT_ILSVRC)/squeezenet_v1.1.keras
	$(BIN)/python -m benchmarks.perturbation --model $(HANSAUDIT_ILSVRC)/squeezenet_v1.1.keras
endif

# Every reader against N spoilt files: make fuzz N=100000 (about a quarter of an hour on 2 cores).
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --n $(or $(N),10000) --seed $(or $(SEED),0)

# Commands are killed at N random moments and started again: make kill N=50 (about half an hour on 2 cores).
kill: $(STAMP)
	$(BIN)/python -m tests.kill --n $(or $(N),50) --seed $(or $(SEED),0)

# Whole audits by processes, Dask and Ray, a worker killed in the middle: the same tables (some minutes).
runners: $(STAMP)
	$(BIN)/python -m tests.runners

# A deployment on real servers (SQLite, and PostgreSQL where it is installed), killed in between (a quarter of an hour).
schedules: $(STAMP)
	$(BIN)/python -m tests.schedules --every 15

# 200 runs in one process: memory, files, threads and temporary files stay flat (about a quarter of an hour).
soak: $(STAMP)
	$(BIN)/python -m benchmarks.soak --runs $(or $(N),200)

# The wheel in a new environment and another folder: the demo must run there.
package: $(STAMP)
	rm -rf build/package && mkdir -p build/package
	$(BIN)/python -m build --no-isolation --outdir build/package/dist .
	$(PYTHON) -m venv build/package/venv
	build/package/venv/bin/python -m pip install --quiet --constraint constraints.txt build/package/dist/*.whl
	cd build/package && venv/bin/hansaudit demo --out demo

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OLDEST) $(LATEST) build *.egg-info runs
