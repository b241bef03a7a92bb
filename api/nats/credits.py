"""Credits over NATS."""

CREDITS = ()
