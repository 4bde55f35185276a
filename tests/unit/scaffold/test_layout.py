"""An entry joins a YAML file as a person laid it out, and nothing else moves."""

import pytest
import yaml

from analytics_platform.scaffold import ScaffoldError
from analytics_platform.scaffold.layout import with_entry

ENTRY = "name: new\ncolumns:\n  - name: a\n"
MODELS = ("models",)

LAYOUTS = {
    "indented": (
        "models:\n  - name: x  # why\n    columns: [a]\n",
        "models:\n  - name: x  # why\n    columns: [a]\n\n"
        "  - name: new\n    columns:\n      - name: a\n",
    ),
    "flush": (
        "models:\n- name: x\n",
        "models:\n- name: x\n\n- name: new\n  columns:\n    - name: a\n",
    ),
    "no line end": (
        "models:\n  - name: x",
        "models:\n  - name: x\n\n  - name: new\n    columns:\n      - name: a\n",
    ),
    "dense": (
        "models:\n  - name: x\n  - name: y\n",
        "models:\n  - name: x\n  - name: y\n  - name: new\n    columns:\n      - name: a\n",
    ),
    "a folded text last": (
        "models:\n  - name: x\n    description: >-\n      a\n      b\n\n\n",
        "models:\n  - name: x\n    description: >-\n      a\n      b\n\n"
        "  - name: new\n    columns:\n      - name: a\n\n\n",
    ),
    "something behind": (
        "# top\nmodels:\n  - name: x\n    # own\n\n# of the next\nother: 1\n",
        "# top\nmodels:\n  - name: x\n    # own\n\n  - name: new\n    columns:\n      - name: a\n"
        "\n# of the next\nother: 1\n",
    ),
    "its namesake": (
        "models:\n  # before\n  - name: new\n    columns: [old]\n\n  # after\n  - name: y\n",
        "models:\n  # before\n  - name: new\n    columns:\n      - name: a\n\n"
        "  # after\n  - name: y\n",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_entry_joins_a_list(layout: str) -> None:
    before, after = LAYOUTS[layout]
    assert with_entry(before, MODELS, ENTRY, where="models.yml") == after
    assert with_entry(after, MODELS, ENTRY, where="models.yml") == after


def test_an_entry_joins_a_list_inside_another() -> None:
    before = (
        "sources:\n  - name: p\n    tables:\n      - name: x\n"
        "  - name: q\n    tables:\n      - name: y\n"
    )
    after = with_entry(before, ("sources", "p", "tables"), ENTRY, where="sources.yml")
    first, second = yaml.safe_load(after)["sources"]
    assert [table["name"] for table in first["tables"]] == ["x", "new"]
    assert [table["name"] for table in second["tables"]] == ["y"]


@pytest.mark.parametrize(
    "text",
    ["", "models: []\n", "models: [{name: x}]\n", "other:\n  - name: x\n", "models: {\n", "- x\n"],
)
def test_a_file_without_such_a_list_is_said(text: str) -> None:
    with pytest.raises(ScaffoldError, match=r"models\.yml"):
        with_entry(text, MODELS, ENTRY, where="models.yml")
