"""The picture of a run: requests a second as bars, with p99 beside them. SVG by hand."""

from collections.abc import Sequence
from html import escape

from bench.peers_speed import Row

WIDTH, LEFT, RIGHT = 960, 280, 250
BAR, GAP, HEAD, PANEL_HEAD, FOOT = 26, 10, 70, 44, 44
# The same colours as docs/images/overview.svg, for light and dark.
STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de }
    .title { fill: #1f2328; font-size: 18px; font-weight: 600 }
    .head { fill: #1f2328; font-size: 15px; font-weight: 600 }
    .name { fill: #1f2328; font-size: 14px }
    .text { fill: #57606a; font-size: 13px }
    .ours { fill: #0969da } .theirs { fill: #8c959f } .ceiling { fill: #d0d7de }
    @media (prefers-color-scheme: dark) {
      .card { fill: #0d1117; stroke: #30363d }
      .title, .head, .name { fill: #e6edf3 }
      .text { fill: #9da7b3 }
      .ours { fill: #58a6ff } .theirs { fill: #6e7681 } .ceiling { fill: #30363d }
    }
"""


def picture(rows: Sequence[Row], machine: str, ours: str, ceiling: str) -> str:
    """An SVG with a panel for each number of connections, the fastest on top.

    Cases whose name begins with `ours` are blue; `ceiling` is pale.
    """
    panels = sorted({row.connections for row in rows})
    each = PANEL_HEAD + (BAR + GAP) * (len(rows) // len(panels))
    height = HEAD + each * len(panels) + FOOT
    parts = [
        _text("title", 24, 36, "Verifications a second, each counted on the same Postgres"),
        _text("text", 24, 58, "one server process tree on one core; medians of interleaved rounds"),
    ]
    for number, connections in enumerate(panels):
        top = HEAD + number * each
        mine = [row for row in rows if row.connections == connections]
        parts += _panel(mine, connections, top, ours, ceiling)
    parts.append(_text("text", 24, height - 18, machine))
    said = "; ".join(
        f"{row.case} at {row.connections} connections: {row.per_second:,.0f}" for row in rows
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc"'
            " font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans',"
            ' sans-serif">',
            '  <title id="title">Tollhouse beside others</title>',
            f'  <desc id="desc">Requests a second. {escape(said)}.</desc>',
            f"  <style>{STYLE}  </style>",
            f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}"'
            ' rx="10"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(rows: Sequence[Row], connections: int, top: int, ours: str, ceiling: str) -> list[str]:
    most = max(row.per_second for row in rows)
    parts = [_text("head", 24, top + 26, f"{connections} connections")]
    for number, row in enumerate(sorted(rows, key=lambda row: -row.per_second)):
        y = top + PANEL_HEAD + number * (BAR + GAP)
        width = max(2, round((WIDTH - LEFT - RIGHT) * row.per_second / most))
        kind = "ceiling" if row.case == ceiling else "theirs"
        kind = "ours" if row.case.startswith(ours) else kind
        figures = f"{row.per_second:,.0f}/s, p99 {row.p99_ms:,.{0 if row.p99_ms >= 100 else 1}f} ms"
        parts += [
            _text("name", LEFT - 12, y + 18, row.case, "end"),
            f'  <rect class="{kind}" x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="3"/>',
            _text("text", LEFT + width + 10, y + 18, figures),
        ]
    return parts


def _text(kind: str, x: int, y: int, words: str, anchor: str = "start") -> str:
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'  <text class="{kind}" x="{x}" y="{y}"{end}>{escape(words)}</text>'
