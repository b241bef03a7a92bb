# mypy: ignore-errors
"""The key of djangorestframework-api-key, and how often it may still be used."""

from django.db import models
from rest_framework_api_key.models import AbstractAPIKey


class MeteredKey(AbstractAPIKey):
    """A key with `remaining` uses."""

    remaining = models.BigIntegerField()

    class Meta:
        """One table for all of it."""

        db_table = "metered_keys"
