"""Where a training leaves its state, so that one that was killed goes on from there.

Belongs here: one file a training, replaced whole. What it holds is
``core.forecast.torch_checkpoint``'s, which also checks that it is of the same training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import Field

from serving.durable import replace_durably


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The newest checkpoint of one training, at ``path``."""

    path: Path

    def read(self) -> bytes | None:
        """The bytes last written; None where there are none."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        """Replace the file, all or nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(self.path, content)

    def clear(self) -> None:
        """Remove the file: its training is done."""
        self.path.unlink(missing_ok=True)


class CheckpointResource(dg.ConfigurableResource):
    """The checkpoints of a home."""

    root: str = Field(description="Folder of the checkpoints.")

    def of(self, training: str) -> CheckpointFile:
        """The checkpoint of the training of that name."""
        return CheckpointFile(Path(self.root) / f"{training}.checkpoint")
