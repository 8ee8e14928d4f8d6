# make demo and make test do everything: set up, build, run. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

DEPS ?= .deps
PREFIX ?= /usr
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
# A static Swift standard library: the device needs no Swift runtime, and the daemon is half the size in memory.
RELEASE := swift build -c release --static-swift-stdlib
RELEASE_BIN = $(shell $(RELEASE) --show-bin-path)
ORT := $(DEPS)/lib/libonnxruntime.so.1.32.0
DRAIN ?= 1.0
SECONDS_ ?= 60

DEMO = $(RELEASE_BIN)/joulectl demo --models $(DEPS)/bundles --runtime-library $(ORT) \
    --speech $(DEPS)/signals/speech.s16le --ecg $(DEPS)/signals/ecg-0201.f32le --drain $(DRAIN) --seconds $(SECONDS_)
DEMO_MOMENTS := 5 15 23 31 39 47 56

.PHONY: demo-picture bench bench-docs instructions bench-planner help setup build bundles profile demo test test-system check install deb fuzz soak test-sanitizers clean distclean test-varlinkctl faults cascade judge

help:
	@echo 'make demo      set up, build, and show jouled at work for a minute (DRAIN=0.8: drain the battery slower)'
	@echo 'make demo-picture  record it for the README (docs/demo.svg; needs tmux)'
	@echo 'make test      set up, build, run all tests'
	@echo 'make test-system  boot real systemd in a container and run the service there (root)'
	@echo "make test-varlinkctl  systemd 257's own Varlink client against the daemon (unpacks Debian 13's into $(DEPS))"
	@echo 'make build     release build of jouled and joulectl'
	@echo 'make bundles   quantize, validate and publish the models into $(DEPS)/bundles, by the recipes in setup/models'
	@echo 'make check     check the configuration, policies and units in this tree'
	@echo 'make install   install under DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) (after make build)'
	@echo 'make deb       a Debian package in .build/deb, judged by lintian'
	@echo 'make bench     what jouled burns around the model, beside a bare C loop, sherpa-onnx and silero-vad's own package, each figure beside its goal (10 minutes)'
	@echo 'make bench-docs  the same, with the results in docs/performance.md'
	@echo 'make instructions  instructions of the hot path beside the committed figure (part of make test)'
	@echo 'make bench-planner  CPU time of plans of 8 and 64 streams beside their goals'
	@echo 'make fuzz      libFuzzer over all parsers, FUZZ_SECONDS=60 each'
	@echo 'make soak      SOAK_SECONDS=600 of 32 streams whose clients come, go, stall and die'
	@echo 'make faults    what faults cost the streams beside them: windows lost, and how their p99 latency moves'
	@echo 'make cascade   the keyword spotter over an hour, alone and asleep behind voice activity: detections and CPU time beside their goals'
	@echo 'make judge     how good the models are that set-up makes itself, on recordings that nothing was learned from (4 minutes)'
	@echo 'make test-sanitizers  the tests under the address and the thread sanitizer'
	@echo 'make clean     remove build products; make distclean: also what set-up downloaded'

setup:
	@setup/setup.sh

build: setup
	$(RELEASE) --product jouled
	$(RELEASE) --product joulectl

# joulectl makes the model bundles: where one is out of date, a release joulectl is built first (debug builds are too slow).
bundles: setup
	@if setup/bundles.sh --stale; then $(RELEASE) --product joulectl && setup/bundles.sh $(RELEASE_BIN)/joulectl; fi

# Costs differ from device to device, so they are measured here; bundles that have their profile are left alone.
profile: build bundles
	@$(RELEASE_BIN)/joulectl model profile --missing --runtime-library $(ORT) $$(ls -d $(DEPS)/bundles/*/*)

demo: profile
	@$(DEMO)

# The recording of it in the README, in a terminal of tmux's; times are in the demonstration's seconds.
demo-picture: profile
	python3 docs/demo.py docs/demo.svg --at $(DEMO_MOMENTS) -- $(DEMO)

test: bundles
	swift build --build-tests
	@.build/debug/joulectl model profile --missing --rounds 10 --runtime-library $(ORT) $$(ls -d $(DEPS)/bundles/*/*)
	swift test --skip-build
	@$(MAKE) --no-print-directory instructions
	@if [[ $$EUID == 0 ]] && command -v systemd-nspawn >/dev/null; then $(MAKE) test-system; \
	else echo '*** SKIPPED: make test-system needs root and systemd-container; the service was NOT run under a real systemd ***' >&2; fi

# Real systemd and journald in a container; needs root and systemd-container.
test-system: profile deb
	Tests/System/run.sh

test-varlinkctl: bundles
	swift build --product jouled
	Tests/Varlinkctl/run.sh .build/debug/jouled $(abspath $(DEPS))/bundles $(abspath $(ORT))

check: build
	$(RELEASE_BIN)/joulectl check-config config/jouled.toml config/policies/*.toml
	systemd-analyze security --offline=true --threshold=8 --no-pager systemd/jouled.service | tail -1
	systemd-analyze security --offline=true --threshold=8 --no-pager systemd/jouled-wyoming.service | tail -1

install:
	install -Dm755 $(RELEASE_BIN)/jouled $(DESTDIR)$(PREFIX)/bin/jouled
	install -Dm755 $(RELEASE_BIN)/joulectl $(DESTDIR)$(PREFIX)/bin/joulectl
	install -Dm644 $(ORT) $(DESTDIR)$(PREFIX)/lib/jouled/libonnxruntime.so.1
	install -Dm644 -t $(DESTDIR)$(UNITDIR) systemd/jouled.service systemd/jouled.socket systemd/jouled.slice
	install -Dm644 -t $(DESTDIR)$(UNITDIR) systemd/jouled-metrics.service systemd/jouled-metrics.timer
	install -Dm644 -t $(DESTDIR)$(UNITDIR) systemd/jouled-wyoming.service systemd/jouled-wyoming.socket
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jouled/drop-ins systemd/drop-ins/*.conf
	install -Dm644 docs/man/jouled.8 $(DESTDIR)$(PREFIX)/share/man/man8/jouled.8
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man5 docs/man/jouled.toml.5 docs/man/jouled-policy.5 docs/man/model.toml.5
	install -Dm644 config/grafana/jouled.json $(DESTDIR)$(PREFIX)/share/jouled/grafana/jouled.json
	install -Dm644 docs/man/joulectl.1 $(DESTDIR)$(PREFIX)/share/man/man1/joulectl.1
	install -Dm644 systemd/jouled.catalog $(DESTDIR)$(PREFIX)/lib/systemd/catalog/jouled.catalog
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(RELEASE_BIN)/joulectl --generate-completion-script bash | sed 1d >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/joulectl
	$(RELEASE_BIN)/joulectl --generate-completion-script zsh >$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_joulectl
	$(RELEASE_BIN)/joulectl --generate-completion-script fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/joulectl.fish
	install -Dm644 systemd/jouled.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/jouled.conf
	test -e $(DESTDIR)/etc/jouled/jouled.toml || install -Dm644 config/jouled.toml $(DESTDIR)/etc/jouled/jouled.toml
	for policy in config/policies/*.toml; do \
	    test -e $(DESTDIR)/etc/jouled/policies/$${policy##*/} || install -Dm644 $$policy $(DESTDIR)/etc/jouled/policies/$${policy##*/}; done

# Built, packed and judged by lintian; the package is left in .build/deb.
deb: build
	packaging/deb.sh . .build/deb

# What is compared with, in an environment of its own.
.build/bench/stamp: Benchmarks/requirements.txt
	rm -rf .build/bench
	python3 -m venv .build/bench
	.build/bench/bin/python -m pip --disable-pip-version-check install --quiet --only-binary :all: --require-hashes -r $<
	touch $@

# torch, for silero-vad's own package; without it that comparison counts as short of its goal.
.build/bench/torch: Benchmarks/requirements-silero.txt .build/bench/stamp
	.build/bench/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --only-binary :all: --require-hashes \
	    --retries 1 --timeout 20 -r $< && touch $@ || echo "silero-vad's own package will not be measured: torch could not be installed" >&2

# Every figure beside its goal; exit status 1 where one is missed.
BENCH_PYTHON := .build/bench/bin/python
BENCH = python3 Benchmarks/bench.py --jouled $(RELEASE_BIN)/jouled --deps $(DEPS) --python $(BENCH_PYTHON) $$([[ -e .build/bench/torch ]] && echo --torch $(BENCH_PYTHON))
bench: profile .build/bench/torch
	$(BENCH)

bench-docs: profile .build/bench/torch
	$(BENCH) --docs docs

# A release build, for that is what runs on devices. valgrind counts, so a busy machine does not matter.
instructions: bundles
	$(RELEASE) --product hotpath
	@python3 Benchmarks/instructions.py --hotpath $(RELEASE_BIN)/hotpath --deps $(DEPS)

# CPU time of plans of 8 and 64 streams beside their goals; exit status 1 where one is missed.
bench-planner:
	swift build -c release --product planner-bench
	.build/release/planner-bench

# libFuzzer over all parsers of what comes from outside; new inputs stay in .build/fuzz/corpus, crashes are left beside them.
FUZZ_SECONDS ?= 60
# lld, for gold does not bear what libFuzzer instruments.
fuzz:
	swift build -c release --product fuzz --scratch-path .build/fuzz -Xswiftc -sanitize=fuzzer -Xswiftc -DLIBFUZZER -Xswiftc -parse-as-library \
	    -Xswiftc -use-ld=lld
	@total=0; for target in $(notdir $(wildcard Tests/Fuzz/Corpus/*)); do \
	    mkdir -p .build/fuzz/corpus/$$target; \
	    JOULED_FUZZ_TARGET=$$target .build/fuzz/release/fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
	        -artifact_prefix=.build/fuzz/$$target- .build/fuzz/corpus/$$target Tests/Fuzz/Corpus/$$target 2>.build/fuzz/$$target.log || { tail -30 .build/fuzz/$$target.log; exit 1; }; \
	    runs=$$(sed -n 's/stat::number_of_executed_units: *//p' .build/fuzz/$$target.log); total=$$((total + runs)); echo "$$target: $$runs executions"; \
	done; echo "$$total executions, no crash, no hang"

# Clients that come, go, stall and die; memory, descriptors and threads must not grow.
SOAK_SECONDS ?= 600
soak: profile
	python3 Tests/Soak/soak.py $(RELEASE_BIN)/jouled $(DEPS)/bundles $(ORT) $(DEPS)/signals/speech.s16le $(SOAK_SECONDS) 32

# What faults cost the streams beside them: calm and faulty phases by turns in one run, for each fault.
faults: profile
	python3 Benchmarks/faults/faults.py $(RELEASE_BIN)/jouled $(DEPS)

# An hour of speech, music and silence, as fast as the daemon takes it; exit status 1 where a goal is missed.
cascade: profile
	python3 Benchmarks/cascade.py --bin $(RELEASE_BIN) --deps $(DEPS)

judge: bundles
	$(DEPS)/venv/bin/python Benchmarks/models.py --deps $(DEPS)

# The whole suite under the address and the thread sanitizer, each with a build of its own. Reports are collected in files: what a daemon writes
# whose test has passed is seen by nobody otherwise, and its exit status is lost where the test kills it.
REPORTS := $(CURDIR)/.build/reports
test-sanitizers: bundles
	@rm -rf $(REPORTS); mkdir -p $(REPORTS)
	JOULED_SANITIZER=address ASAN_OPTIONS=detect_leaks=0:log_path=$(REPORTS)/address \
	    swift test --sanitize=address --scratch-path .build/address || { cat $(REPORTS)/* 2>/dev/null; exit 1; }
	JOULED_SANITIZER=thread TSAN_OPTIONS=suppressions=$(CURDIR)/Tests/tsan.supp:log_path=$(REPORTS)/thread \
	    swift test --sanitize=thread --scratch-path .build/thread || { cat $(REPORTS)/* 2>/dev/null; exit 1; }
	@! grep -hs . $(REPORTS)/*

clean:
	rm -rf .build

distclean: clean
	rm -rf $(DEPS)
