"""What a document points at is there."""

import re

import pytest

from tests.docs.reading import ROOT, document


@pytest.mark.parametrize("name", ["vendors.md", "events.md", "destinations.md"])
def test_every_file_that_a_document_links_to_exists(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document(name))
    assert links
    for link in links:
        assert link.startswith(("https://", "http://")) or (ROOT / "docs" / link).is_file(), link
