"""The two bases of every wire model: closed towards us, tolerant towards others."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Answer", "Request"]


class Request(BaseModel):
    """What a caller sends: unknown fields are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What a service answers: a newer service may send more than we know."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)
