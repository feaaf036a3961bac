# The door to everything; `cargo test --workspace` alone is enough to be right.

test:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty

# Writes outcomes of goldens that have none yet. Read them against the specification.
bless:
    BLESS=1 cargo test -p gateway-core --test corpus

bench name="":
    cargo bench -p gateway-benches {{name}}

# Instructions per match, free of noise; needs valgrind.
ir:
    benches/ir.sh

fuzz target seconds="60":
    cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}}

doc:
    cargo doc --workspace --no-deps --open

ci:
    .ci/run
