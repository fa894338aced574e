"""What clients were told about their deals, against what is stored in the end."""

from dataclasses import dataclass, field
from typing import Final

GONE: Final = None
# A deal as the ledger knows it: its price, or that there is none.
State = str | None


@dataclass
class Ledger:
    """By `external_id`, what a deal may be: one state, or two where no answer said which."""

    states: dict[int, set[State]] = field(default_factory=dict)
    confirmed: int = 0
    refused: int = 0
    unsure: int = 0

    def told(self, external_id: int, status: int | None, before: set[State], after: State) -> None:
        """Take down the answer to a write that would turn `before` into `after`.

        A 2xx has done it and a 4xx has not. Anything else, or no answer, may have: the transaction
        is committed before it is answered, and the answer can be lost.
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
        """Deals that are not what some client was told."""
        return [
            f"deal {number}: told {sorted(map(str, allowed))}, stored {stored.get(number)}"
            for number, allowed in self.states.items()
            if stored.get(number, GONE) not in allowed
        ]
