"""Adding an entry to a YAML file that people have laid out, without touching the rest.

The file is changed as text at the place the parser tells, then parsed again: anything but the one
entry being new is an error. What the entry says is `render`'s business.
"""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from analytics_platform.scaffold.errors import ScaffoldError

#: The parser in C where it is built, as a product's file has thousands of lines.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_entry(text: str, path: tuple[str, ...], entry: str, *, where: str) -> str:
    """The file with an entry at the end of one of its lists, or in place of its namesake.

    Args:
        text: The file.
        path: The list: the key of a list at the top, then by turns the `name` of one of its
            entries and the key of a list in that.
        entry: The entry as YAML: a mapping with a `name`, not indented.
        where: The file's name, for errors.

    Returns:
        The file with every other line as it was.

    Raises:
        ScaffoldError: The file has no such list, or is written in a way this cannot extend.
    """
    try:
        items = _list_at(yaml.compose(text, Loader=_Loader), path)
    except yaml.YAMLError as error:
        raise _not_as_expected(where, path, str(error).splitlines()[0]) from error
    if items is None or not items.value or items.flow_style:
        raise _not_as_expected(where, path, "none, or an empty one")
    name = load_yaml(entry)["name"]
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    # A list's mark is that of its first dash; an entry's own is behind the dash.
    indent = items.start_mark.column
    block = _block(entry, indent)
    same = next((node for node in items.value if _name(node) == name), None)
    last = same or items.value[-1]
    end = _end(lines, last, indent)
    if same is not None:
        lines[same.start_mark.line : end] = block
    else:
        is_spaced = len(items.value) == 1 or _is_blank_before(lines, last)
        lines[end:end] = ["\n", *block] if is_spaced else block
    changed = "".join(lines)
    _check(text, changed, path, entry, where)
    return changed


def load_yaml(text: str | bytes) -> Any:
    """The document, as `yaml.safe_load` gives it."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (the safe loader, in C)


def _not_as_expected(where: str, path: tuple[str, ...], found: str) -> ScaffoldError:
    return ScaffoldError(
        f"Adding an entry to {where}: expected a list under {' → '.join(path)}; found {found}. "
        "Write the list as the other products' files have it, an entry a dash, and run again."
    )


def _list_at(node: Any, path: tuple[str, ...]) -> yaml.SequenceNode | None:
    for step, key in enumerate(path):
        if step % 2 == 0:
            if not isinstance(node, yaml.MappingNode):
                return None
            node = next((value for known, value in node.value if known.value == key), None)
        else:
            if not isinstance(node, yaml.SequenceNode):
                return None
            node = next((item for item in node.value if _name(item) == key), None)
    return node if isinstance(node, yaml.SequenceNode) else None


def _name(node: Any) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value.value for key, value in node.value if key.value == "name"), None)


def _block(entry: str, indent: int) -> list[str]:
    first, *rest = entry.strip("\n").splitlines()
    body = textwrap.indent("\n".join(rest), " " * (indent + 2))
    return [f"{' ' * indent}- {first}\n", *(f"{line}\n" for line in body.splitlines())]


def _end(lines: list[str], node: Any, indent: int) -> int:
    """The index behind an entry's last line: comments further left belong to what follows."""
    end = node.end_mark.line if node.end_mark.column == 0 else node.end_mark.line + 1
    end = min(end, len(lines))
    while end > node.start_mark.line + 1:
        line = lines[end - 1]
        depth = len(line) - len(line.lstrip())
        is_own = line.strip() and depth > indent
        if is_own:
            break
        end -= 1
    return end


def _is_blank_before(lines: list[str], node: Any) -> bool:
    before = node.start_mark.line - 1
    return before >= 0 and not lines[before].strip()


def _check(text: str, changed: str, path: tuple[str, ...], entry: str, where: str) -> None:
    """Raise unless the file means what it meant, and the entry."""
    added = load_yaml(entry)

    def without(document: Any) -> tuple[Any, list[Any]]:
        items = document
        for step, key in enumerate(path):
            items = items[key] if step % 2 == 0 else next(i for i in items if i["name"] == key)
        mine = [item for item in items if item.get("name") == added["name"]]
        items[:] = [item for item in items if item.get("name") != added["name"]]
        return document, mine

    before, _ = without(load_yaml(text))
    after, mine = without(load_yaml(changed))
    if before != after or mine != [added]:
        raise _not_as_expected(where, path, "a layout in which the entry would change others")
