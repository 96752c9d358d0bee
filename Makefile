# Everything starts from Python 3.11+ alone; `.venv` is made on the first call.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup bench test test-all lint speed clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sciml needs Python 3.11 or newer; set PYTHON=...")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[all]'
	touch $@

# The main job: simulate, train, roll out, score, report. Run it again to resume.
bench: setup
	$(BIN)/sciml bench benchmarks/ks/scenario.toml --size default --out runs/ks-default

# One thread per process and one process per core: two-thread processes side by side wait for each other. In the order of
# the files: by number of tests, as xdist would have it, the longest would come last and alone.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST)

test-all: setup
	$(PYTEST) -m 'slow or not slow'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# Side by side with the packages of the extra `peers`; on a machine that does nothing else.
speed: setup
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[peers]'
	$(BIN)/python benchmarks/speed/spectral_convolution.py
	$(BIN)/python benchmarks/speed/ode.py
	$(BIN)/python benchmarks/speed/gradients.py
	$(BIN)/python benchmarks/speed/sde.py
	$(BIN)/python benchmarks/speed/pde.py
	$(BIN)/python benchmarks/speed/ssm.py

clean:
	rm -rf .venv build dist *.egg-info
