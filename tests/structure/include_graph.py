#!/usr/bin/env python3
"""Compares the modules' #includes with the table in docs/architecture.md.

A module may include only itself, `base`, and what its row of the table names; src/<module>/internal/ belongs to its module alone;
every module has a README and a row. The public headers, include/millrace/, include one another and the standard library, and only
the module embed includes them. Exit status 1, and a line for each edge that is not allowed.
"""

import pathlib
import re
import sys

ROW = re.compile(r"^\| `src/(\w+)` \|.*\| ([^|]*) \|$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
ANY_INCLUDE = re.compile(r'^\s*#\s*include\s*(\S+)')
STANDARD = re.compile(r"<[a-z_]+>")
PUBLIC_USERS = {"embed"}


def allowed_edges(architecture: str, modules: set[str]) -> dict[str, set[str]]:
    table = {}
    for line in architecture.splitlines():
        if match := ROW.match(line):
            uses = match.group(2).strip()
            table[match.group(1)] = set(modules) if uses == "everything" else set(re.findall(r"\w+", uses))
    return table


def public_problems(root: pathlib.Path) -> list[str]:
    include = root / "include"
    public = {f'"{path.relative_to(include)}"' for path in include.rglob("*.h")}
    found = [] if public else ["include/ has no headers"]
    for path in sorted(include.rglob("*.h")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = ANY_INCLUDE.match(line)
            if match and match.group(1) not in public and not STANDARD.fullmatch(match.group(1)):
                found.append(f"{path.relative_to(root)}:{number}: {match.group(1)} is neither public nor of the standard library")
    return found


def problems(root: pathlib.Path) -> list[str]:
    source = root / "src"
    modules = {path.name for path in source.iterdir() if path.is_dir()}
    table = allowed_edges((root / "docs/architecture.md").read_text(), modules)
    found = []
    for module in sorted(modules):
        if module not in table:
            found.append(f"src/{module} has no row in the table of docs/architecture.md")
            continue
        if not (source / module / "README.md").exists():
            found.append(f"src/{module} has no README.md")
        for path in sorted([*(source / module).rglob("*.h"), *(source / module).rglob("*.cc")]):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                parts = match.group(1).split("/")
                place = f"{path.relative_to(root)}:{number}"
                other = parts[0]
                if other == "millrace" and module in PUBLIC_USERS and (root / "include" / match.group(1)).exists():
                    continue
                if len(parts) < 2 or other not in modules:
                    found.append(f'{place}: "{match.group(1)}" is not written as "<module>/<file>"')
                elif other != module and other != "base" and other not in table[module]:
                    found.append(f"{place}: {module} may not use {other}")
                elif other != module and "internal" in parts:
                    found.append(f"{place}: {match.group(1)} is internal to {other}")
    return found


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    found = problems(root) + public_problems(root)
    print("\n".join(found) or "every include is allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
