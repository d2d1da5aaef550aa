"""Hypothesis strategies for msgspec structs, from their annotations and constraints."""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

Strategy = st.SearchStrategy[Any]
_SIMPLE: dict[object, Strategy] = {
    bool: st.booleans(),
    type(None): st.none(),
    UnsetType: st.just(UNSET),
    Any: st.none(),
}


def struct(kind: type[Struct], fields: Mapping[str, Strategy]) -> Strategy:
    """Any ``kind``. ``fields``: strategies by field name, at any depth, for what is free-form."""
    hints = get_type_hints(kind, include_extras=True)
    names = {name: hints[name] for name in kind.__struct_fields__}
    return st.builds(
        kind,
        **{name: fields[name] if name in fields else _any(t, fields) for name, t in names.items()},
    )


def _any(annotation: Any, fields: Mapping[str, Strategy], meta: Meta | None = None) -> Strategy:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _any(args[0], fields, args[1])
    if origin in (Union, types.UnionType):
        return st.one_of(*(_any(arg, fields) for arg in args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(_any(args[0], fields), max_size=3).map(tuple)
        return st.tuples(*(_any(arg, fields) for arg in args))
    if origin is dict:
        return st.dictionaries(_any(args[0], fields), _any(args[1], fields), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return struct(annotation, fields)
    return _SIMPLE[annotation] if annotation in _SIMPLE else _bounded(annotation, meta or Meta())


def _bounded(kind: object, meta: Meta) -> Strategy:
    if kind is int:
        least = 0 if meta.ge is None else int(meta.ge)
        return st.integers(least, 2**31 if meta.le is None else int(meta.le))
    if kind is float:
        return st.floats(0 if meta.ge is None else meta.ge, 1e6 if meta.le is None else meta.le)
    shortest = meta.min_length or 0
    if kind is bytes:
        return st.binary(min_size=shortest, max_size=20)
    assert kind is str, kind
    return st.text("ab é\N{OK HAND SIGN}", min_size=shortest, max_size=8)
