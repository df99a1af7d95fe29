# The commands of git-gate. `make help` lists them.

DESTDIR ?=
PREFIX ?= /usr/local
BIN := gate-init gate-pre-receive gate-access-hook

export PATH := $(CURDIR)/.tools:$(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: tools
tools: ## bring what is missing: gitleaks, sshd
	@tools/bring run

.PHONY: build
build: ## build the three binaries of the image and gate-host, small
	@# Apart: what gate-host needs (HTTP, TLS) is in no build of the image.
	@cargo build --release --quiet --package git-gate
	@cargo build --release --quiet --package gate-host

.PHONY: run
run: tools build ## start a gate: a throwaway upstream, or UPSTREAM=ssh://… KEY=… KNOWN_HOSTS=…
	@cargo run --release --quiet --package git-gate --example run -- \
		$(if $(UPSTREAM),--upstream '$(UPSTREAM)') $(if $(KEY),--key '$(KEY)') \
		$(if $(KNOWN_HOSTS),--known-hosts '$(KNOWN_HOSTS)') $(if $(PORT),--port '$(PORT)') $(if $(HTTP_PORT),--http-port '$(HTTP_PORT)')

.PHONY: test
test: tools ## all tests, against real git, sshd and gitleaks
	@cargo test

.PHONY: lint
lint: ## formatting, clippy (the fuzz targets too), documentation, examples, dependencies
	@tools/bring lint
	@cargo fmt --all --check
	@cargo clippy --quiet --all-targets -- -D warnings
	@# A workspace of its own, with the versions of this one. Only checked, as cargo-fuzz would build it:
	@# libFuzzer need not be compiled, and any path will do in its place.
	@cargo fmt --manifest-path fuzz/Cargo.toml --check
	@cp Cargo.lock fuzz/Cargo.lock
	@RUSTFLAGS='--cfg fuzzing' CUSTOM_LIBFUZZER_PATH=not/linked \
		cargo clippy --quiet --manifest-path fuzz/Cargo.toml --target-dir target/fuzz -- -D warnings
	@cargo deny check bans licenses sources
	@RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items
	@tools/check-manifests examples/kubernetes/*.yaml
	@tools/check-unit examples/systemd/git-gate.service

.PHONY: bench
bench: tools ## one table: direct ssh, the shell gate, ours
	@cargo bench --quiet --package git-gate --bench gate

.PHONY: history
history: tools ## the gate against plain gitleaks over whole histories: REPOS="DIR…", or this one
	@cargo bench --quiet --package git-gate --bench history

.PHONY: recall
recall: tools ## secrets that others collected: TABLES=DIR, a directory of snapshots (benches/recall.rs)
	@cargo bench --quiet --profile dev --bench recall

.PHONY: honest
honest: tools ## honest pushes replayed from histories, against plain gitleaks: REPOS="DIR…" PUSHES=200
	@cargo bench --quiet --profile dev --bench honest

.PHONY: soak
soak: tools ## what gets better with time: 50 clients, 200 kills, the table of faults, an hour's work
	@GIT_GATE_SOAK_SECONDS=60 GIT_GATE_SOAK_CLIENTS=50 GIT_GATE_KILL_ROUNDS=200 \
		GIT_GATE_SOAK_OPERATIONS=3600 GIT_GATE_ACCOUNT_OPERATIONS=504 \
		cargo test --package git-gate --test gate -- \
		--nocapture --test-threads=1 accounts:: concurrency:: faults:: soak::

.PHONY: corpus
corpus: tools ## the table of disguises and honest pushes, and what became of each; CASE=word picks
	@cargo test --package git-gate --test gate -- --nocapture --test-threads=1 evasion:: honest:: recall::

.PHONY: fuzz
fuzz: ## fuzz every parser of what an agent or gitleaks writes, FUZZ_SECONDS (60) each
	@tools/bring fuzz
	@# cargo-fuzz needs options that are not stable; with this the pinned toolchain has them.
	@for target in updates objects report text archive; do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir fuzz $$target -- \
			-max_total_time=$${FUZZ_SECONDS:-60} -rss_limit_mb=4096 || exit 1; \
	done

.PHONY: image
image: tools build ## the root file system of the image, and the image where Docker answers
	@image/make target/release

.PHONY: arm64
arm64: ## build for 64-bit ARM, and run each program once under qemu-user
	@tools/bring arm64
	@tools/arm64

.PHONY: macos
macos: ## check that gate-host compiles for macOS
	@tools/bring macos
	@tools/macos

.PHONY: release
release: ## the release of this machine's kind below target/release-files: archive, SBOM, checksums
	@tools/release

.PHONY: install
install: build ## install the programs, the hooks, the man pages and completions below DESTDIR
	@install -D -m 755 -t '$(DESTDIR)$(PREFIX)/bin' $(addprefix target/release/,$(BIN) gate-host)
	@cargo run --release --quiet --package manual -- '$(DESTDIR)$(PREFIX)/share'
	@install -D -m 755 target/release/gate-pre-receive '$(DESTDIR)/etc/git-gate/pre-receive'
	@install -D -m 755 target/release/gate-access-hook '$(DESTDIR)/etc/git-gate/access-hook'

.PHONY: clean
clean: ## remove what was built and fetched
	@cargo clean --quiet
	@rm -rf .tools
