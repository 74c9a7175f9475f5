# Every command a newcomer, a developer or CI needs. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO_MANIFEST := media/native/Cargo.toml
RUST_LEAST := $(shell sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' $(CARGO_MANIFEST))
RUST_SOURCES := $(CARGO_MANIFEST) $(shell find media/native -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print 2>/dev/null)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Else each program that starts compiles all it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run messages blur test test-fast lint check-rust check-python check-js fuzz soak clean prerequisites test-prerequisites blur-for-tests

help:
	@echo "make run        install, load the demo practice, serve on http://localhost:8080"
	@echo "make blur       fetch what background blur needs, in browsers and here (make run and make test do so)"
	@echo "make test       everything: formatting, types, Rust, Python and browser tests"
	@echo "make test-fast  Python and Rust tests without browser and servers"
	@echo "make messages   bring the catalogs of translations up to date with the sentences in the sources"
	@echo "make lint       formatting and types only"
	@echo "make fuzz       arbitrary bytes against every parser and a whole room, an hour each (FUZZ_SECONDS=60 FUZZ_TARGETS=rtp)"
	@echo "make soak       ten million packets through one room under every fault of the link; prints the memory held"
	@echo "make clean      remove what was built (keeps var/, where the data is)"

prerequisites:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv is needed: apt-get install python3-venv" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is needed: apt-get install build-essential" >&2; exit 1; }
	@v=$$(cargo --version 2>/dev/null | cut -d' ' -f2); \
	  [ -n "$$v" ] && [ "$$(printf '%s\n' $(RUST_LEAST) $$v | sort -V | head -1)" = "$(RUST_LEAST)" ] || { \
	  echo "Rust $(RUST_LEAST) or newer is needed (found: $${v:-none}): apt-get install rustc-web cargo-web" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml $(RUST_SOURCES)
	@$(MAKE) --no-print-directory prerequisites
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Building the packet core and installing Holdspace (a few minutes the first time)"
	$(BIN)/pip install --quiet --editable .
	@touch $@

blur: $(VENV)/.installed
	@$(BIN)/python -m web.blur_assets

blur-for-tests: $(VENV)/.installed-test
	@$(BIN)/python -m web.blur_assets

messages: $(VENV)/.installed
	@$(BIN)/python -m web.catalogs

run: $(VENV)/.installed
	@$(BIN)/python -m web.blur_assets || true
	@exec $(BIN)/holdspace serve --demo

# -- tests ----------------------------------------------------------------------------------------------------------

DEBIAN_FOR_TESTS := chromium postgresql ffmpeg nodejs coturn nftables iproute2 espeak-ng khal dovecot-imapd tesseract-ocr
test-prerequisites: prerequisites
	@missing=""; for p in $(DEBIAN_FOR_TESTS); do \
	  case $$p in chromium) f=$$(command -v chromium);; ffmpeg) f=$$(command -v ffprobe);; nodejs) f=$$(command -v node);; \
	    postgresql) f=$$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null);; coturn) f=$$(command -v turnserver);; \
	    dovecot-imapd) f=$$(PATH=$$PATH:/usr/sbin command -v dovecot);; espeak-ng|khal) f=$$(command -v $$p);; tesseract-ocr) f=$$(command -v tesseract);; nftables) f=$$(PATH=$$PATH:/usr/sbin command -v nft);; iproute2) f=$$(PATH=$$PATH:/usr/sbin command -v ip);; esac; \
	  [ -n "$$f" ] || missing="$$missing $$p"; done; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    echo "Installing from Debian:$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "The tests need:$$missing. Install them with: sudo apt-get install$$missing" >&2; exit 1; fi; fi

# Not after `.installed`: the packet core would be built and everything resolved twice.
$(VENV)/.installed-test: pyproject.toml $(RUST_SOURCES)
	@$(MAKE) --no-print-directory prerequisites
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Building the packet core and installing Holdspace with what its tests need (a few minutes the first time)"
	$(BIN)/pip install --quiet --no-compile --editable '.[test]'
	@touch $(VENV)/.installed $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --silent --no-audit --no-fund

check-rust:
	+cargo fmt --manifest-path $(CARGO_MANIFEST) --all --check
	+cargo clippy --manifest-path $(CARGO_MANIFEST) --workspace --all-targets --features python --quiet -- -D warnings
	+cargo test --manifest-path $(CARGO_MANIFEST) --workspace --quiet

check-python: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest media._forwarder --concise

check-js: web/node_modules/.package-lock.json
	cd web && npx --no-install tsc -p .

lint: check-python check-js

# Rust is built and checked while the rest is installed. Then everything side by side: browser tests mostly wait, the
# others mostly work. A browser test that fails is run up to twice more, and told of (tests/conftest.py).
test: test-prerequisites
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line check-rust check-python check-js blur-for-tests
	$(BIN)/pytest -q -n 3 --dist worksteal -m "not alone" --browser-reruns 2
	$(BIN)/pytest -q -m alone --browser-reruns 2 tests/browser tests/media

test-fast: $(VENV)/.installed-test blur
	$(BIN)/pytest -q -n 2 -m "not browser and not servers"

# Seconds per target; an hour each is what a change of a parser deserves.
FUZZ_SECONDS ?= 3600
fuzz:
	media/native/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

soak:
	cargo test --release --manifest-path $(CARGO_MANIFEST) -p holdspace-engine --test soak -- --ignored --nocapture

clean:
	rm -rf $(VENV) web/node_modules media/native/target media/_forwarder*.so
