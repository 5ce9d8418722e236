# Muster's commands. `make demo` and `make test` install what they need on Debian 12 with Swift 6.3 on PATH.
SHELL := /bin/bash
RACK ?= Inventory/example-rack/rack.yaml
MINUTES ?= 5
SWIFT_RELEASE := swift build -c release --static-swift-stdlib
PROGRAMS := muster muster-conductor muster-rack discovery-agent compute-agent network-agent storage-agent controller-agent
# What three controllers in namespaces are made of.
BED_PROGRAMS := muster-conductor muster muster-bed network-agent clock-skew
CACHE ?= $(or $(MUSTER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/muster)

.PHONY: help setup build demo demo-down demo-ha demo-ha-down test test-ha soak-ha bench-ha test-rack test-apis judge format lint wire fuzz soak bench bench-node bench-apis clean

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs the Debian packages and the Python environment that the rest needs.
	@./setup.sh

build: setup ## Builds the programs, release.
	@for program in $(PROGRAMS); do $(SWIFT_RELEASE) --product $$program || exit 1; done

demo: build ## From bare machines to active nodes on a virtual rack; RACK=FILE takes another rack.
	@./demo.sh "$(RACK)"

demo-down: ## Removes everything that the demo made.
	@./demo.sh --down "$(RACK)"

demo-ha: setup ## Three controllers in namespaces: the leader is killed, stopped and cut off under a writer; a report says what that cost.
	@for program in $(BED_PROGRAMS); do $(SWIFT_RELEASE) --product $$program || exit 1; done
	@./demo-ha.sh

demo-ha-down: ## Removes everything that demo-ha made.
	@./demo-ha.sh --down

test: setup ## Runs every test, the whole path on a virtual rack included; debug build only.
	@./test.sh

test-rack: setup ## What `make test` leaves out: whole deployments on every firmware, IPMI, bonds, a relay, a TPM, Secure Boot, four roles, a controller that takes over, a conductor that is killed.
	@./test.sh --rack

test-ha: setup ## Twenty seeded schedules of faults on three controllers, all answers judged; SEED=n begins with another seed.
	@for program in $(BED_PROGRAMS); do swift build --product $$program || exit 1; done
	@.build/debug/muster-bed soak --directory .muster/test-ha --schedules 20 --seed $(or $(SEED),1)

soak-ha: setup ## The same with new seeds, for MINUTES minutes.
	@for program in $(BED_PROGRAMS); do swift build --product $$program || exit 1; done
	@.build/debug/muster-bed soak --directory .muster/soak-ha --minutes $(MINUTES)

test-apis: setup ## OpenStack's own clients and schemathesis against one conductor; makes a Python environment in the cache.
	@swift build --product muster-conductor
	@CONDUCTOR=$${CONDUCTOR:-$(CURDIR)/.build/debug/muster-conductor} Tests/Scenarios/test.sh $(ONLY)

judge: ## A fresh conductor under OpenStack's own tests: AREA=identity JUDGE=FILE, the script that runs them.
	@[ -n "$$CONDUCTOR" ] || { ./setup.sh && $(SWIFT_RELEASE) --product muster-conductor; }
	@CONDUCTOR=$${CONDUCTOR:-$(CURDIR)/.build/release/muster-conductor} Tests/Scenarios/judge.sh "$$AREA" "$$REGEX"

format: ## Formats the sources.
	@swift format -i -r Package.swift Sources Tests

lint: ## Says what is not formatted.
	@swift format lint --strict -r Package.swift Sources Tests

wire: setup ## Says whether etcd's client is what its generators make of etcd.proto.
	@Sources/Resource/StoreEtcd/Wire/regenerate.sh --check

fuzz: setup ## Fuzzes all that reads foreign bytes for MINUTES minutes.
	@Tests/Fuzz/run.sh $$(( $(MINUTES) * 60 ))

soak: setup ## Simulates new seeds for MINUTES minutes: seeds done, faults by kind, and what failed.
	@swift build --build-tests
	@MUSTER_SOAK_MINUTES=$(MINUTES) swift test --skip-build --filter SoakTests

bench: ## What a fleet costs one conductor, beside DHCP and TFTP peers; ONLY="ingest store" runs some sections.
	@./setup.sh debian-packages-bench.txt
	@for program in muster-conductor muster fleet-load agent-load; do $(SWIFT_RELEASE) --product $$program || exit 1; done
	@Tests/Benchmarks/fleet.py $(ONLY)

bench-node: setup ## The ramdisk's agent beside ironic-python-agent, writing an image beside zstd and dd.
	@for program in node-bench discovery-agent network-agent; do $(SWIFT_RELEASE) --product $$program || exit 1; done
	@mkdir -p .cache/images
	@Images/node/build.sh --role network --agent .build/release/network-agent --out .cache/images
	@Tests/Benchmarks/node.sh 5

bench-apis: ## What a request of identity and bare metal costs, beside Keystone and Ironic; ONLY="identity growth" runs some sections.
	@./setup.sh debian-packages-bench.txt
	@$(SWIFT_RELEASE) --product muster-conductor
	@PEERS=$$(Tests/Scenarios/venv.sh api-peers Tests/Benchmarks/requirements-peers.txt) && export PEERS && \
		Tests/Benchmarks/apis.py --conductor $(CURDIR)/.build/release/muster-conductor $(ONLY)

bench-ha: ## What three controllers cost, and what losing one does; ONLY="writes failover" runs some sections.
	@./setup.sh debian-packages-bench.txt
	@for program in $(BED_PROGRAMS) etcd-load; do $(SWIFT_RELEASE) --product $$program || exit 1; done
	@[ -z "$(if $(ONLY),$(filter journey,$(ONLY)),journey)" ] || { swift build --build-tests && \
		for program in controller-agent discovery-agent; do $(SWIFT_RELEASE) --product $$program || exit 1; done; }
	@[ -n "$(ONLY)" ] || .build/release/etcd-load
	@Tests/Benchmarks/ha.py $(ONLY)

clean: ## Removes what builds and demos have left in this folder.
	@rm -rf .build .cache .muster
