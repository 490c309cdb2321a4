# Short names for what the scripts do; the scripts are the truth and need no just.

# The recipes.
default:
    @just --list

# Everything in one process: store, control plane, three regions, DNS, a simulated provider.
dev *args:
    cargo run --release --bin meridian -- dev {{args}}

# Separate processes on this machine: etcd, two control replicas, three nodes, the simulator.
local:
    deploy/local/up

# All tests, or some of its stages: `just test build e2e`.
test *stages:
    tests/run {{stages}}

# What a change has to pass.
ci:
    .ci/run

# The Rust tests alone, of some packages or of all: `just unit -p meridian-dns`.
unit *args:
    cargo test --profile ci {{ if args == "" { "--workspace" } else { args } }}

# The tests against real processes; arguments go to pytest: `just e2e -k dns`.
e2e *args:
    E2E="{{args}}" tests/run tools build e2e

# CPU time for a DNS query: ours, gdnsd's and Knot's side by side.
bench-dns *args:
    tests/dns-conformance/bench {{args}}

# What a node costs beside nginx and a bare hyper proxy: CPU, delay, memory.
bench-proxy *args:
    tests/bench-proxy/run {{args}}

# Propagation, reconnects and memory of the control plane; fails over twice the targets.
bench-control *args:
    cargo run --release --package meridian-tests --bin bench_control -- {{args}}

# Formatting and clippy as CI has them.
lint:
    tests/run fmt lint docs

fmt:
    cargo fmt --all

# Everything, and what takes longer: hundreds of seeds, the e2e three times over, DNS next to other servers.
full:
    tests/full
