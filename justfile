# Every task is a command that works without `just`, and that CI runs.

# Lists the tasks.
default:
    @just --list

# Gets what the machine lacks and packages the extension.
provision *arguments:
    ./harness/run provision {{arguments}}

# A PostgreSQL 18 with the extension, TPC-H, stream tables kept fresh while orders stream in, and a report.
demo *arguments:
    ./harness/run demo {{arguments}}

# Every test, on every PostgreSQL version that the machine offers.
test *arguments:
    ./harness/run test {{arguments}}

# Formatting and clippy.
lint:
    ./harness/run lint

# Replays a workload and compares every stream table with both oracles.
replay *arguments:
    ./harness/run replay {{arguments}}

# Compares everything on every version and publishes it: target/report/index.html. Also: report check, report diff A B.
report *arguments:
    ./harness/run report {{arguments}}

# Measures refreshes beside recomputing and hand-written deltas: target/bench. Also: bench compare BASE, bench report.
bench *arguments:
    ./harness/run bench {{arguments}}

# Random queries and histories for as long as asked: --minutes N, --seed S.
fuzz *arguments:
    ./harness/run fuzz {{arguments}}

# Mistakes in the rules of the core that the tests must notice: --only NAME, --sample N.
mutants *arguments:
    ./harness/run mutants {{arguments}}

# A server with the extension, until Ctrl-C.
serve *arguments:
    ./harness/run serve {{arguments}}

# What a submission must pass.
ci:
    .ci/run

# The tests that need no server, quickly.
unit:
    cargo nextest run -p pg_trickle_core -p pg_trickle_oracle -p pg_trickle_corpus

# Licences and advisories of dependencies.
deny:
    cargo deny check

# Formats the sources.
format:
    cargo fmt --all
