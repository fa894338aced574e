"""The ledger of answered writes, which is compared with the stored deals at the end."""

from dataclasses import dataclass, field
from typing import Final

GONE: Final = None
# The state of a deal: its price, or GONE.
State = str | None


@dataclass
class Ledger:
    """The possible states of each deal by `external_id`: two if an answer was lost."""

    states: dict[int, set[State]] = field(default_factory=dict)
    confirmed: int = 0
    refused: int = 0
    unsure: int = 0

    def told(self, external_id: int, status: int | None, before: set[State], after: State) -> None:
        """Record the answer to a write that changes `before` into `after`.

        A 2xx means that the write happened, and a 4xx that it did not. Any other answer, or none,
        leaves both possible: the transaction commits before the answer, which can be lost.
        """
        if status is not None and status < 300:  # noqa: PLR2004 - success
            self.states[external_id] = {after}
            self.confirmed += 1
        elif status is not None and 400 <= status < 500:  # noqa: PLR2004 - refused
            self.states[external_id] = set(before)
            self.refused += 1
        else:
            self.states[external_id] = {*before, after}
            self.unsure += 1

    def contradictions(self, stored: dict[int, str]) -> list[str]:
        """Return the deals whose stored state contradicts an answer."""
        return [
            f"deal {number}: told {sorted(map(str, allowed))}, stored {stored.get(number)}"
            for number, allowed in self.states.items()
            if stored.get(number, GONE) not in allowed
        ]
