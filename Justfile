# Show what can be done
default:
    @just --list

# Make the development environment from the lock
setup:
    ./tollhouse test --version

# Start Postgres, NATS and the server on ./data
up *ARGS:
    ./tollhouse up {{ARGS}}

# Run the tests, or those that the arguments name
test *ARGS:
    ./tollhouse test {{ if ARGS == "" { "tests" } else { ARGS } }}

# Run the long tests, which `test` leaves out: the same faults at more places and more often
test-long:
    ./tollhouse test -m long -n 2 --dist loadfile

# Try what the property tests are about with new examples, twenty times as many as `test` tries
explore *ARGS:
    ./tollhouse test --hypothesis-profile=explore -m hypothesis --timeout=1800 -n 2 {{ARGS}}

# Run what CI runs: lint, format, types, imports, tests
check:
    ./tollhouse test

# Format the code and mend what the linter can mend
fmt: setup
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# Resolve the dependencies again and write both locks (hashes, no hosts)
lock: setup
    .venv/bin/uv pip compile pyproject.toml -o requirements.lock --quiet --upgrade \
        --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
    .venv/bin/uv pip compile pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock --quiet --upgrade \
        --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

# Measure: `just bench peers` beside what others run; `verify`, `logins`, `revocation`, …: see docs/benchmarks.md
bench *ARGS: setup
    .venv/bin/python -m bench {{ARGS}}

# Follow both logs from 0 and into what they became: are counters, read models, streams, lake right?
invariants *ARGS: setup
    .venv/bin/python -m tests.faults.invariants {{ARGS}}

# Show that nothing is oversold: quotas, credits, holds, rotation; 64 clients, one of four serve processes killed at random
exactness *ARGS: setup
    .venv/bin/python -m bench.exactness {{ARGS}}

# Show what must hold (docs/security.md), and the test that shows each; `--run` runs those tests
security *ARGS: setup
    .venv/bin/python -m tests.security {{ARGS}}

# Measure whether sign-in, reset and registration take the same time for whoever exists (row 3 of docs/security.md)
security-timing *ARGS: setup
    .venv/bin/python -m bench security-timing {{ARGS}}

# Photograph the passkey test page in Chromium, for docs/accounts.md
screenshots: setup
    TOLLHOUSE_SCREENSHOTS=docs/images .venv/bin/python -m pytest -p no:cacheprovider tests/api/test_passkey_browser.py
