# Two commands: `make demo` converts a real trained model, `make test` sets up everything and passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PROJECTS := $(wildcard plugins/*/pyproject.toml)
EDITABLE := -e . $(foreach p,$(PROJECTS),-e $(patsubst %/,%,$(dir $(p))))
MODEL  := tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5
JOBS   ?= 2

.PHONY: demo test test-all view site fuzz lint types docs bench watch mutants refusals clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# what a user needs: the packages and onnxruntime for the check
$(VENV)/.run: $(BIN)/python pyproject.toml $(PROJECTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(EDITABLE) onnxruntime
	$(BIN)/python -m compileall -q core plugins
	touch $@

# what the tests need besides: pytest, ruff, mypy, and torch and Keras as judges
$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(VENV)/.run
	mkdir -p out
	$(BIN)/convcore convert $(MODEL) -o out/emotion.onnx --force --report out/emotion.html

test: $(VENV)/.dev lint types
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" -q --disable-warnings

test-all: $(VENV)/.dev lint types
	$(BIN)/python -m pytest -n $(JOBS) -q --disable-warnings

# pages with pictures in a real browser: needs Chromium on the machine (apt-get install chromium)
view: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check playwright
	$(BIN)/python -m pytest -q --disable-warnings tests/viewing

# damaged files of every reader, other ones each time
fuzz: $(VENV)/.dev
	KERAS_BACKEND=torch $(BIN)/python -m tests.fuzz --count $(or $(COUNT),5000) $(if $(SEED),--seed $(SEED)) $(READERS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

# the documentation as a site, in out/site
site: $(VENV)/.dev
	$(BIN)/python -m mkdocs build

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

# which test runs which line: what the next two look up; anew when tests were added
watch: $(VENV)/.dev
	$(BIN)/python -m tests.support.mutants watch --jobs $(JOBS)

# whether the tests notice changes to the source: a sample by seed, goes on where it stopped
SEED  ?= 1
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.support.mutants run --seed $(SEED) --count $(or $(COUNT),200) --jobs $(JOBS) $(MUTATE)

# the refusals that no test reaches
refusals: $(VENV)/.dev
	$(BIN)/python -m tests.support.mutants refusals

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
