"""Values that nobody should send, and documents of which a part was replaced by one."""

import copy
from typing import Any

from hypothesis import strategies as st

# What a test hands to `json.dumps`: lone surrogates, NaN and numbers beyond 64 bits pass through it.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["", "\ud800", "\0", "../../x", "1e999", "NaN", "ß", "‮abc", "x" * 5000])
)
JUNK: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, document: Any, at_most: int = 3) -> Any:
    """A copy of a JSON document with up to `at_most` of its parts replaced by junk, left out or doubled."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, at_most))):
        parts = list(_parts(changed))
        if not parts:
            return draw(JUNK)
        holder, key = draw(st.sampled_from(parts))
        match draw(st.sampled_from(["replace", "remove", "double"])):
            case "replace":
                holder[key] = draw(JUNK)
            case "remove":
                del holder[key]
            case _ if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                holder[f"{key}2"] = copy.deepcopy(holder[key])
    return changed


def _parts(document: Any) -> Any:
    keys = (
        list(document)
        if isinstance(document, dict)
        else range(len(document))
        if isinstance(document, list)
        else ()
    )
    for key in keys:
        yield document, key
        yield from _parts(document[key])
