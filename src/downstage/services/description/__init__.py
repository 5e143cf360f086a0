"""What a service says of itself (OpenAPI), as a tree that calls are resolved against."""

from downstage.services.description.operation import Match, Operation, Placed, Step
from downstage.services.description.tree import AmbiguousPath, Description

__all__ = ["AmbiguousPath", "Description", "Match", "Operation", "Placed", "Step"]
