"""One plain function per use case: load, decide, append.

The ports it needs are Protocols in `ports`; the adapters live in `infra`.
"""
