"""Single fields of a spec, read and written by what USD's Python wants for each of them."""

from __future__ import annotations

from typing import Any

from downstage.client.live import values
from downstage.client.live.pxr import Sdf
from downstage.live.ops import Kind

__all__ = ["FieldWriter", "plain_fields"]

_USUAL: dict[str, Any] = {
    "AttributeSpec": {"custom": False, "variability": Sdf.VariabilityVarying},
    "RelationshipSpec": {"custom": False, "variability": Sdf.VariabilityUniform},
    "PrimSpec": {"specifier": Sdf.SpecifierOver, "typeName": ""},
    "VariantSpec": {"specifier": Sdf.SpecifierOver},
}
_PROXIES = {"targetPaths": "targetPathList", "connectionPaths": "connectionPathList"}


def plain_fields(layer: Any, spec: Any, name: str) -> bytes | None:
    """The field *name* of *spec* as bytes; None: absent, or as USD would have it anyway.

    Raises:
        values.Unencodable: its type does not travel.
    """
    if name == "subLayers":  # notices name it at prims too, when what they refer to changed
        return _read_sublayers(layer) if spec == layer.pseudoRoot else None
    if not spec.HasInfo(name):
        return None
    value = spec.GetInfo(name)
    usual = _USUAL.get(type(spec).__name__)
    if usual is not None and name in usual and usual[name] == value:
        return None
    packed = values.encode(value)
    if isinstance(value, dict) and name != "variantSelection":
        # Python cannot tell a token from a string, nor a float from a double, inside of a
        # dictionary: what others will have is laid into this layer too, so that all are alike.
        spec.SetInfo(name, values.decode(packed))
    return packed


def _read_sublayers(layer: Any) -> bytes | None:
    offsets = list(layer.subLayerOffsets)
    rows = [
        [path, offset.offset, offset.scale]
        for path, offset in zip(layer.subLayerPaths, offsets, strict=True)
    ]
    return values.encode(rows) if rows else None


class FieldWriter:
    """Writes fields of *layer*'s specs."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def write(self, kind: Kind, spec: Any, name: str, value: bytes | None) -> None:
        """Give the field a value; None takes it away.

        Raises:
            ValueError: the bytes make no value.
            Tf.ErrorException: USD has no room for it.
        """
        decoded = None if value is None else values.decode(value)
        if name in _PROXIES and value is None:
            getattr(spec, _PROXIES[name]).ClearEdits()
        elif kind == "layer" and name in ("subLayers", "layerRelocates"):
            self._write_layer(name, decoded)
        elif value is None:
            _clear(spec, name)
        elif name == "default":
            spec.default = decoded
        elif name in _PROXIES:
            _write_list(getattr(spec, _PROXIES[name]), decoded)
        elif name == "specifier":
            spec.specifier = decoded
        elif name == "typeName" and kind == "prim":
            spec.typeName = decoded
        else:
            spec.SetInfo(name, decoded)

    def _write_layer(self, name: str, value: Any) -> None:
        layer = self._layer
        if name == "layerRelocates":
            if value:
                layer.relocates = [(source, target) for source, target in value]
            else:
                layer.ClearRelocates()
            return
        rows: list[tuple[str, float, float]] = value or []
        layer.subLayerPaths = [str(row[0]) for row in rows]
        for index, (_, offset, scale) in enumerate(rows):
            layer.subLayerOffsets[index] = Sdf.LayerOffset(offset, scale)


def _write_list(proxy: Any, value: Any) -> None:
    """These lists cannot be set as a field, only edited."""
    proxy.ClearEdits()
    if value.isExplicit:
        proxy.ClearEditsAndMakeExplicit()
        proxy.explicitItems = value.explicitItems
        return
    for part in ("prependedItems", "appendedItems", "deletedItems", "addedItems", "orderedItems"):
        items = getattr(value, part)
        if items:
            setattr(proxy, part, items)


def _clear(spec: Any, name: str) -> None:
    usual = _USUAL.get(type(spec).__name__, {})
    if name == "default":
        spec.ClearDefaultValue()
    elif name == "specifier":
        spec.specifier = usual.get(name, Sdf.SpecifierOver)
    elif name == "typeName":
        spec.ClearInfo(name)  # an empty name is refused
    elif name in usual:
        spec.SetInfo(name, usual[name])
    else:
        spec.ClearInfo(name)
