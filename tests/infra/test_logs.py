"""Logs are JSON, one event a line, whatever is in it (SECURITY 25)."""

import json
import subprocess
import sys

HOSTILE = '\x1b[31m\n\r\u2028\x00\x7f{"level": "info"}'

PROGRAM = f"""
import logging
import structlog
from infra.logs import configure

configure("info", "json")
hostile = {HOSTILE!r}
structlog.get_logger().info("request", path=hostile)
logging.getLogger("a.library").error("failed: %s", hostile)
try:
    password = "a canary that is a local variable"
    raise ValueError(hostile)
except ValueError:
    structlog.get_logger().exception("broke")
    logging.getLogger("a.library").exception("broke")
"""


def test_every_line_is_json_and_no_control_character_gets_out() -> None:
    """Ours and a library's, with tracebacks, and without their local variables."""
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, timeout=30
    ).stderr
    lines = out.decode().splitlines()
    events = [json.loads(line) for line in out.split(b"\n") if line]
    assert [event["event"] for event in events[:2]] == ["request", f"failed: {HOSTILE}"]
    assert events[0]["path"] == HOSTILE
    assert len(lines) == len(events) == 4
    assert all("ValueError" in event["exception"] for event in events[2:])
    assert all(event["timestamp"] and event["level"] for event in events)
    assert not any(byte < 32 for byte in out.replace(b"\n", b""))
    assert b"canary" not in out.replace(b'password = "a canary', b"")
