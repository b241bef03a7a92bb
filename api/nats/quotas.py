"""Quotas over NATS."""

QUOTAS = ()
