"""Tables for notebooks, readable in light and dark themes: no colours of their own but the notebook's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_CELL = "padding: 0.15em 0.8em; text-align: {align}; border: none; white-space: nowrap;"
_RULE = "border-bottom: 1px solid color-mix(in srgb, currentColor 35%, transparent);"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", left: int = 0) -> str:
    """An HTML table; the first ``left`` columns are aligned to the left, the others to the right."""
    aligns = ["left" if i < left else "right" for i in range(len(headings))]
    head = "".join(_cell("th", text, align) for text, align in zip(headings, aligns, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", text, align) for text, align in zip(row, aligns, strict=True)) + "</tr>"
        for row in rows
    )
    caption = f"<div style='font-weight: 600; margin: 0.3em 0'>{escape(title)}</div>" if title else ""
    style = "border-collapse: collapse; font-variant-numeric: tabular-nums;"
    return (
        f"<div style='overflow-x: auto'>{caption}<table style='{style}'><thead style='{_RULE}'><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, text: str, align: str) -> str:
    return f"<{tag} style='{_CELL.format(align=align)}'>{escape(text)}</{tag}>"
