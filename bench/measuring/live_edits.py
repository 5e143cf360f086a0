"""Random edits of a stage: everything that people do to one, in a space small enough to collide."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from downstage.client.live.pxr import Gf, Sdf, Tf, Usd, Vt

__all__ = ["Hand"]

NAMES = ("A", "B", "C")
PATHS = ["/" + a for a in NAMES] + [f"/{a}/{b}" for a in NAMES for b in NAMES]
TYPES = ("Double", "Double3", "Float", "String", "TokenArray", "Point3fArray", "Quatf", "Matrix4d")
_VALUES: dict[str, Callable[[random.Random], Any]] = {
    "Double": lambda draw: float(draw.randrange(9)),
    "Double3": lambda draw: Gf.Vec3d(draw.randrange(9), draw.randrange(9), 0),
    "Float": lambda draw: draw.randrange(9) / 4,
    "String": lambda draw: draw.choice("xyz"),
    "TokenArray": lambda draw: Vt.TokenArray([draw.choice("xyz")] * draw.randrange(3)),
    "Point3fArray": lambda draw: Vt.Vec3fArray([Gf.Vec3f(draw.randrange(9))] * draw.randrange(4)),
    "Quatf": lambda draw: Gf.Quatf(draw.randrange(9), 1, 2, 3),
    "Matrix4d": lambda draw: Gf.Matrix4d(draw.randrange(9)),
}


class Hand:
    """Edits one layer through a stage of its own.

    Args:
        layer: what to edit.
        library: a layer to refer to.
        draw: where chance comes from.
        count: told what was done.
    """

    def __init__(self, layer: Any, library: Any, draw: random.Random, count: Counter[str]) -> None:
        self.layer, self.library, self.draw, self.count = layer, library, draw, count
        self.stage = Usd.Stage.Open(layer)
        names = [name for name in vars(type(self)) if name.startswith("do_")]
        self._deeds = sorted(names)

    def edit(self) -> None:
        """One edit of any kind; one that does not fit where it falls is left."""
        deed = self.draw.choice(self._deeds)
        try:
            if getattr(self, deed)() is not False:
                self.count[deed[3:]] += 1
        except Tf.ErrorException:
            self.count["refused-by-usd"] += 1

    def _prim(self) -> Any:
        """Some prim that the layer has."""
        paths = [path for path in PATHS if self.layer.GetPrimAtPath(path)]
        return self.layer.GetPrimAtPath(self.draw.choice(paths)) if paths else None

    def _property(self, prim: Any) -> Any:
        name = self.draw.choice(["x", "y"])
        kind = getattr(Sdf.ValueTypeNames, self.draw.choice(TYPES))
        found = self.layer.GetAttributeAtPath(prim.path.AppendProperty(name))
        return found or Sdf.AttributeSpec(prim, name, kind)

    def do_define(self) -> None:
        self.stage.DefinePrim(self.draw.choice(PATHS), self.draw.choice(["Xform", "Scope"]))

    def do_over(self) -> None:
        Sdf.CreatePrimInLayer(self.layer, self.draw.choice(PATHS))

    def do_remove(self) -> bool:
        prim = self._prim()
        return bool(prim) and self.draw.random() < 0.5 and self.stage.RemovePrim(prim.path)

    def do_value(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        attribute = self._property(prim)
        attribute.default = _VALUES[_type_of(attribute)](self.draw)
        return True

    def do_sample(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        attribute = self._property(prim)
        value = _VALUES[_type_of(attribute)](self.draw)
        self.layer.SetTimeSample(attribute.path, float(self.draw.randrange(3)), value)
        return True

    def do_erase_sample(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        for attribute in prim.attributes:
            for time in self.layer.ListTimeSamplesForPath(attribute.path)[:1]:
                self.layer.EraseTimeSample(attribute.path, time)
                return True
        return False

    def do_other_type(self) -> bool:
        """Replace an attribute by one of another type, or by a relationship."""
        prim = self._prim()
        if not prim:
            return False
        name = self.draw.choice(["x", "y"])
        with Sdf.ChangeBlock():
            if name in prim.properties:
                prim.RemoveProperty(prim.properties[name])
            if self.draw.random() < 0.2:
                Sdf.RelationshipSpec(prim, name).targetPathList.Append(self.draw.choice(PATHS))
            else:
                self._property_named(prim, name)
        return True

    def _property_named(self, prim: Any, name: str) -> None:
        kind = self.draw.choice(TYPES)
        attribute = Sdf.AttributeSpec(prim, name, getattr(Sdf.ValueTypeNames, kind))
        attribute.default = _VALUES[kind](self.draw)

    def do_retype(self) -> bool:
        prim = self._prim()
        for attribute in prim.attributes if prim else ():
            kind = getattr(Sdf.ValueTypeNames, self.draw.choice(TYPES))
            with Sdf.ChangeBlock():
                attribute.ClearDefaultValue()
                attribute.SetInfo("typeName", str(kind))
            return True
        return False

    def do_connect(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        attribute = self._property(prim)
        target = Sdf.Path(self.draw.choice(PATHS)).AppendProperty("x")
        attribute.connectionPathList.Prepend(target)
        return True

    def do_relate(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        found = self.layer.GetRelationshipAtPath(prim.path.AppendProperty("rel"))
        rel = found or Sdf.RelationshipSpec(prim, "rel", custom=False)
        edit = self.draw.choice(["Append", "Prepend", "Erase"])
        getattr(rel.targetPathList, edit)(self.draw.choice(PATHS))
        return True

    def do_reference(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        asset = self.draw.choice(["", self.library.identifier])
        offset = Sdf.LayerOffset(self.draw.randrange(3), 1 + self.draw.randrange(2))
        reference = Sdf.Reference(asset, "/R" if asset else "/Z", offset)
        prim.referenceList.Append(reference)
        return True

    def do_payload(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        prim.payloadList.Prepend(Sdf.Payload(self.library.identifier, "/R"))
        return True

    def do_inherit(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        prim.inheritPathList.Append("/_class")
        return True

    def do_metadata(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        data = {self.draw.choice("kl"): self.draw.choice([1, 2.5, "t", Vt.IntArray([1])])}
        prim.SetInfo("customData", data)
        prim.kind = self.draw.choice(["group", "component"])
        return True

    def do_active(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        prim.active = self.draw.random() < 0.5
        return True

    def do_layer_metadata(self) -> None:
        self.layer.pseudoRoot.SetInfo("metersPerUnit", float(self.draw.randrange(1, 5)))
        self.layer.customLayerData = {"k": self.draw.randrange(5)}
        self.layer.defaultPrim = self.draw.choice(NAMES)

    def do_sublayers(self) -> None:
        if self.layer.subLayerPaths and self.draw.random() < 0.4:
            self.layer.subLayerPaths = []
        else:
            self.layer.subLayerPaths = [self.library.identifier]
            self.layer.subLayerOffsets[0] = Sdf.LayerOffset(self.draw.randrange(5), 1)

    def do_relocate(self) -> None:
        if self.layer.relocates:
            self.layer.ClearRelocates()
        else:
            name = self.draw.choice(NAMES)
            self.layer.relocates = [(Sdf.Path(f"/{name}/Q"), Sdf.Path(f"/{name}/S"))]

    def do_reorder(self) -> bool:
        """Move a prim among its siblings by a namespace edit."""
        prim = self._prim()
        if not prim:
            return False
        edit, away = Sdf.BatchNamespaceEdit(), prim.path.ReplaceName("Away")
        edit.Add(prim.path, away, -1)
        edit.Add(away, prim.path, self.draw.choice([0, -1]))
        return bool(self.layer.Apply(edit))

    def do_reorder_statement(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        prim.nameChildrenOrder = self.draw.sample(NAMES, 2)
        return True

    def do_rename(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        edit = Sdf.BatchNamespaceEdit()
        edit.Add(prim.path, prim.path.ReplaceName(self.draw.choice(NAMES)))
        return bool(self.layer.CanApply(edit)) and bool(self.layer.Apply(edit))

    def do_variant(self) -> bool:
        """Author in a variant, selected or not."""
        prim = self._prim()
        if not prim:
            return False
        path = prim.path.AppendVariantSelection("v", self.draw.choice("ab"))
        with Sdf.ChangeBlock():
            inside = Sdf.CreatePrimInLayer(self.layer, path)
            if self.draw.random() < 0.6:
                deeper = path.AppendChild(self.draw.choice(NAMES))
                inside = Sdf.CreatePrimInLayer(self.layer, deeper)
            attribute = self._property(inside)
            attribute.default = _VALUES[_type_of(attribute)](self.draw)
        return True

    def do_variant_alone(self) -> bool:
        """Change a value in a variant that may not be selected, and nothing else."""
        prim = self._prim()
        for variant in ("a", "b") if prim else ():
            inside = self.layer.GetPrimAtPath(prim.path.AppendVariantSelection("v", variant))
            if inside:
                attribute = self._property(inside)
                attribute.default = _VALUES[_type_of(attribute)](self.draw)
                return True
        return False

    def do_select_variant(self) -> bool:
        prim = self._prim()
        if not prim:
            return False
        prim.variantSelections["v"] = self.draw.choice("ab")
        prim.variantSetNameList.Prepend("v")
        return True

    def do_remove_variant(self) -> bool:
        prim = self._prim()
        if not prim or "v" not in prim.variantSets or self.draw.random() < 0.5:
            return False
        variants = prim.variantSets["v"]
        for variant in list(variants.variantList)[:1]:
            variants.RemoveVariant(variant)
        return True

    def do_block(self) -> None:
        """Several prims and values in one change block."""
        with Sdf.ChangeBlock():
            for name in NAMES[:2]:
                prim = Sdf.CreatePrimInLayer(self.layer, f"{self.draw.choice(PATHS)}/{name}")
                attribute = self._property(prim)
                attribute.default = _VALUES[_type_of(attribute)](self.draw)

    def do_remove_property(self) -> bool:
        prim = self._prim()
        if not prim or not prim.properties:
            return False
        prim.RemoveProperty(self.draw.choice(list(prim.properties)))
        return True

    def do_clear(self) -> bool:
        if self.draw.random() < 0.9:
            return False
        self.layer.Clear()
        return True


def _type_of(attribute: Any) -> str:
    return next(name for name in TYPES if getattr(Sdf.ValueTypeNames, name) == attribute.typeName)
