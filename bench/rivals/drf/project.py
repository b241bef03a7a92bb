# mypy: ignore-errors
"""Django REST Framework with an API key permission and one UPDATE as quota, and nothing else."""

import os
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

_database = urlsplit(os.environ["DATABASE_URL"])

settings.configure(
    SECRET_KEY="of a benchmark in a temporary folder",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="project",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["rest_framework", "rest_framework_api_key", "metered"],
    # Content-Length, without which no connection is kept.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _database.path.lstrip("/"),
            "USER": _database.username,
            "PASSWORD": unquote(_database.password or ""),
            "HOST": _database.hostname,
            "PORT": _database.port,
            "CONN_MAX_AGE": None,
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db.models import F  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from metered.models import MeteredKey  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_api_key.permissions import BaseHasAPIKey  # noqa: E402


class PresentedKey:
    """The key is in the body, as a service that verifies for others gets it."""

    def get(self, request):
        return request.data.get("key")


class HasMeteredKey(BaseHasAPIKey):
    """The library's permission, on our model."""

    model = MeteredKey
    key_parser = PresentedKey()


class Verify(APIView):
    """The permission looks the key up; then one UPDATE takes from its quota."""

    permission_classes = [HasMeteredKey]

    def post(self, request):
        prefix = request.data["key"].partition(".")[0]
        left = MeteredKey.objects.filter(prefix=prefix, remaining__gt=0)
        taken = left.update(remaining=F("remaining") - 1)
        return Response({"valid": taken == 1, "prefix": prefix})


urlpatterns = [
    path("v1/keys/verify", Verify.as_view()),
    path("ready", lambda request: HttpResponse("ready")),
]
application = get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
