"""`python -m docs.rooms PAGE` draws the rooms of the project into a page, between two marks.

A room is a folder of `atcore` or `tasks`; the stages, which are modules of `tasks`, count as one
room, and so does `flows`. An arrow says which room imports from which. One that other arrows imply,
as they lead from the same room to the same one, is left out.
"""

import sys
from pathlib import Path

import grimp
import networkx

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- drawn by `make rooms` -->\n", "<!-- end of the drawing -->\n"
_HOUSES = ("flows", "tasks", "atcore")


def _room(module: str) -> str | None:
    """House and room of a module; None where a package imports itself, as for its path."""
    house, *rest = module.split(".")
    if house == "flows":
        return "flows"
    if not rest:
        return None
    if (ROOT / house / rest[0]).is_dir():
        return f"{house}.{rest[0]}"
    return f"{house}.stages"


def rooms() -> "networkx.DiGraph[str]":
    """Which room imports from which."""
    modules = grimp.build_graph(*_HOUSES, cache_dir=None)
    found = networkx.DiGraph()
    for module in sorted(modules.modules):
        room = _room(module)
        if room is None:
            continue
        found.add_node(room)
        for other in sorted(modules.find_modules_directly_imported_by(module)):
            below = _room(other)
            if below not in (None, room):
                found.add_edge(room, below)
    return found


def drawing() -> str:
    """The rooms as a Mermaid diagram."""
    found = rooms()
    shown = networkx.transitive_reduction(found)
    lines = ["```mermaid", "flowchart TD"]
    for house in _HOUSES:
        lines.append(f"  subgraph {house}_house [{house}]")
        names = sorted(room for room in found if room.split(".")[0] == house)
        lines += [f'    {room.replace(".", "_")}["{room.rpartition(".")[2]}"]' for room in names]
        lines.append("  end")
    lines += [f"  {a} --> {b}".replace(".", "_") for a, b in sorted(shown.edges)]
    counted = f"{len(found)} rooms, {len(found.edges)} arrows"
    return "\n".join(
        [*lines, "```", "", f"{counted}; the {len(shown.edges)} drawn imply the rest.", ""]
    )


def drawn_into(page: str) -> str:
    """A page with its drawing made anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{drawing()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(drawn_into(path.read_text("utf-8")), "utf-8")
