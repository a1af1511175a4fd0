"""The findings as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tts_sim.claims import exchange, revisions, search, verifiers
from tts_sim.claims.finding import Finding
from tts_sim.claims.material import Material

PARTS = {
    "Search against a verifier": search,
    "Revisions": revisions,
    "Test-time compute against parameters": exchange,
    "The verifier": verifiers,
}


def findings(material: Material) -> dict[str, list[Finding]]:
    """All claims that the cache can speak to, by part of the paper."""
    return {title: list(part.findings(material)) for title, part in PARTS.items()}


def markdown(found: Mapping[str, Sequence[Finding]], reasons: Mapping[str, str] | None = None) -> Iterator[str]:
    """Lines of a section a part, a row a claim; `reasons` (claim's key → text) adds a column on why it may differ."""
    for title, members in found.items():
        if not members:
            continue
        yield from ("", f"## {title}", "")
        yield "| the paper | here | figures (95 % intervals) | command |" + (" why |" if reasons else "")
        yield "|---|---|---|---|" + ("---|" if reasons else "")
        for finding in members:
            cells = [
                f"{finding.claim.text} ({finding.claim.source})",
                finding.verdict,
                "<br>".join(finding.figures),
                f"`{finding.command}`",
            ]
            if reasons:
                cells.append(reasons.get(finding.claim.key, ""))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
