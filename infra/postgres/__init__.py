"""Postgres: migrations, the event store's tables, counting, and the rows beside the events."""
