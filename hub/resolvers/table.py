"""A table in the configuration: one variable of the call, or its caller or line, chooses a row of variables."""

from hub.config import EVERYTHING_ELSE, TableResolver as Configured
from hub.errors import Unresolved
from hub.questions import Question, Reply
from hub.resolvers.means import Means


class TableResolver:
    """Answers at once, and from nothing that could be down."""

    def __init__(self, name: str, configured: Configured, means: Means) -> None:
        """As it is configured."""
        del name, means
        self._key = configured.key
        self._rows = {row: Reply(variables) for row, variables in configured.table.items()}

    async def open(self) -> None:
        """Nothing to prepare."""

    async def resolve(self, question: Question, within: float) -> Reply:
        """The row of the key's value, else that of ``*``. Raises Unresolved where there is neither."""
        del within
        value = question.parameters().get(self._key) if self._key is not None else None
        reply = self._rows.get(value) if value is not None else None
        reply = reply or self._rows.get(EVERYTHING_ELSE)
        if reply is None:
            raise Unresolved("none", f"the table has no row for this {self._key}")
        return reply

    async def close(self) -> None:
        """Nothing was taken."""
