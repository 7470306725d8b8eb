VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
READY = $(VENV)/.ready
TORCH = $(VENV)/.torch
# Without --no-compile pip compiles every module of torch, most of which nothing here imports.
PIP_INSTALL = pip install --quiet --disable-pip-version-check --no-compile
# What is imported is compiled once and kept, not again in each process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

# One test process a core, each of one thread but where a test asks for all cores; the tests of a file
# stay together, because they share what they set up, in the order of tests/conftest.py.
WORKERS ?= auto
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo docs test test-fast test-oldest install-oldest run-oldest test-newest install-newest \
	run-newest coverage check install install-torch

install: $(READY)

# The long part, and the only one that writes nothing into the checkout.
install-torch: $(TORCH)

$(TORCH): constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) -c constraints.txt torch
	touch $(TORCH)

$(READY): pyproject.toml constraints.txt $(TORCH)
	$(BIN)/$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/edgead demo

docs: $(READY)
	$(BIN)/mkdocs build --strict

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(PYTEST)

# The device side and pure functions, without what trains a network or runs for long: under a
# minute on two cores.
LONG_TESTS = tests/arm tests/backbones tests/cli/test_bench.py tests/cli/test_environment.py \
	tests/cli/test_good.py tests/compare tests/demo tests/distillation tests/export/compress \
	tests/export/test_every_detector.py tests/export/test_int8.py tests/export/test_photo_opens.py \
	tests/export/test_pipeline.py tests/fuzz tests/kill tests/models tests/runtimes/test_forks.py \
	tests/soak tests/teachers tests/teaching tests/tensorrt tests/test_installs.py \
	tests/test_privacy.py tests/training
test-fast: $(READY)
	$(PYTEST) -m "not slow" $(addprefix --ignore=,$(LONG_TESTS))

coverage: $(READY)
	$(PYTEST) --cov --cov-report=term

# The device install alone (no torch, no onnx), with the lowest versions that pyproject.toml allows
# for the Python in use, and with the newest that there are.
DEVICE_TESTS = tests/artifact/test_artifact.py tests/benchmarks/test_golden.py \
	tests/benchmarks/test_scenarios.py tests/benchmarks/test_sensors.py \
	tests/benchmarks/test_statistics.py tests/cli/test_bench.py tests/cli/test_commands.py \
	tests/cli/test_environment.py tests/cli/test_output.py tests/cli/test_signals.py tests/datasets \
	tests/runtimes/test_onnxruntime.py tests/runtimes/test_select.py tests/test_contrast.py \
	tests/test_detection.py tests/test_detector.py tests/test_files.py tests/test_images.py \
	tests/test_maps.py tests/test_photo_files.py tests/test_printable.py tests/test_resizing.py \
	tests/test_strict_json.py tests/view/test_view.py
OLDEST_PYTHON ?= $(PYTHON)
NEWEST_PYTHON ?= $(PYTHON)

define install-device
	$(1) -m venv --clear $(VENV)-$(2)
	$(VENV)-$(2)/bin/$(PIP_INSTALL) $(3) -e . pytest pytest-timeout
	$(VENV)-$(2)/bin/pip freeze --exclude-editable
endef
RUN_DEVICE = bin/python -m pytest -m "not slow" $(DEVICE_TESTS)

test-oldest: install-oldest run-oldest

install-oldest:
	$(call install-device,$(OLDEST_PYTHON),oldest,-c constraints-oldest.txt)

run-oldest:
	$(VENV)-oldest/$(RUN_DEVICE)

test-newest: install-newest run-newest

install-newest:
	$(call install-device,$(NEWEST_PYTHON),newest,--upgrade)

run-newest:
	$(VENV)-newest/$(RUN_DEVICE)
