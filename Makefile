# Every target says for itself what it does: `make help`.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The project's own Node.js comes first, whatever the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SETUP := scripts/setup.sh

.PHONY: help setup build images generate check test e2e demo bench bench-cluster bench-install kernels cluster cluster-stop guide long-model format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building needs (Debian packages by apt, npm packages by npm ci)
	@$(SETUP) build

build: setup ## Compile the BPF program and bundle the agent into dist/
	@node scripts/build.mjs

images: ## Build the images of operator and agent with docker, podman or buildah; IMAGES="--save DIR" also writes archives
	@$(SETUP) images
	@node scripts/images.ts $(IMAGES)

generate: build ## Write anew what is generated from the CRDs, the BPF layout and the code, and is committed
	@node scripts/generate.mjs

check: ## Types, lint, unit tests and packet tests: under two minutes
	@$(SETUP) build test
	@node scripts/build.mjs
	@FUZZ_DOCUMENTS=2000 MODEL_PACKETS=50000 node scripts/run-tests.ts types lint unit packets

test: ## Everything, on a fresh machine too; the last line says how many passed, failed and were skipped
	@$(SETUP) build test cluster nodes images monitoring
	@node scripts/build.mjs
	@node scripts/run-tests.ts

e2e: ## Install, update, power-cut and uninstall with Helm on two real nodes, under floods of blocked sources
	@$(SETUP) build test cluster nodes images
	@node scripts/build.mjs
	@node scripts/run-tests.ts e2e

demo: ## See a port scan cut off: real nmap, an attacker and a victim in namespaces of their own
	@$(SETUP) build demo
	@node scripts/build.mjs
	@node scripts/demo.ts

bench: ## Measure the datapath, the reader and the agent; prints ratios to a bare XDP_DROP
	@$(SETUP) build bench
	@node scripts/build.mjs
	@node test/bench/run.ts

bench-cluster: ## Measure 30, 100 and 300 agents at one real API server; AGENTS="30" picks some
	@$(SETUP) build cluster
	@node scripts/build.mjs
	@node test/bench/cluster/run.ts $(AGENTS)

bench-install: ## Measure helm install, and an agent's pod that is replaced, on two real nodes; ROUNDS=5
	@$(SETUP) build test cluster nodes images
	@node scripts/build.mjs
	@node test/bench/install/run.ts $(ROUNDS)

kernels: ## Boot older kernels under QEMU, without KVM, and run the datapath in them; KERNELS="6.1" picks some
	@$(SETUP) build kernels
	@node scripts/build.mjs
	@node test/kernels/run.ts $(KERNELS)

cluster: ## Start a cluster to play with, in the background: a real API server, two real nodes, an attacker
	@$(SETUP) build demo cluster nodes images
	@node scripts/build.mjs
	@node scripts/cluster.ts start

cluster-stop: ## End that cluster
	@node scripts/cluster.ts stop

guide: ## Run the commands of docs/kubernetes.md and docs/rights.md on a real cluster and write down what they print
	@$(SETUP) build test cluster nodes images monitoring
	@node scripts/build.mjs
	@UPDATE_GUIDE=1 vitest run --project e2e test/e2e/playground.test.ts
	@UPDATE_GUIDE=1 vitest run --project cluster test/cluster/rights.test.ts

long-model: ## Compare the BPF program with its model on 1,000,000 random packets
	@$(SETUP) build
	@node scripts/build.mjs
	@MODEL_PACKETS=1000000 vitest run --project packets test/packets/random

format: setup ## Format the sources and mend what the linter can mend
	@biome check --write .

clean: ## Remove what was built; node_modules stays
	rm -rf build dist coverage .vitest
