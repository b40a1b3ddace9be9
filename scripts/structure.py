#!/usr/bin/env python3
"""Checks what must not exist in the tree: circles between files, a fat binary, crates that depend upwards.

    python3 scripts/structure.py            all three checks; exits with 1 where one fails
    python3 scripts/structure.py --edges ledger
                                            prints the imports between the files of a crate

Imports are `use` declarations and paths in the code that begin with `crate::`, `super::` or `self::`; those of types
count like those of functions. A module file that only lists `mod` and `pub use` is transparent: an import through it
counts as an import of the file that it names. Code under `#[cfg(test)]` does not count.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Crates whose source files must not import each other in a circle.
WITHOUT_CIRCLES = ["ledger"]

# The binary's `src` has fewer lines than this: what a library user would want belongs into a library.
TEMPLAR_LINES = 7_000

# Floors of ARCHITECTURE.md, the lowest first. A crate depends on crates of lower floors only.
FLOORS = [
    ["base", "disk", "bucket"],
    ["engine", "engine-torch", "gradient", "corpus", "chain", "wallet"],
    ["trainer", "gauntlet", "audit", "round", "ledger", "model"],
    ["record"],
    ["node", "simulator", "dashboard", "gateway", "evaluation"],
    ["localnet", "screen", "bench", "settings"],
    ["templar"],
]
# Arrows within a floor that the picture has: user → used.
WITHIN_FLOOR = {
    ("bucket", "base"), ("disk", "base"), ("bucket", "disk"),
    ("engine-torch", "engine"), ("gradient", "engine"), ("corpus", "engine"), ("gradient", "corpus"),
    ("gauntlet", "trainer"), ("round", "gauntlet"), ("model", "trainer"), ("trainer", "round"),
    ("audit", "trainer"), ("audit", "round"), ("node", "evaluation"),
    ("screen", "localnet"), ("bench", "screen"), ("bench", "localnet"), ("settings", "screen"),
}
# Never published and used by tests; it may stand on anything.
BESIDE = {"testing"}
# Not published either: it measures against the reference servers that `testing` starts.
USES_BESIDE = {"bench"}


def strip_comments(text):
    """Removes comments and the contents of string literals, keeping line breaks."""
    pattern = re.compile(
        r"//[^\n]*|/\*.*?\*/|r(#*)\".*?\"\1|\"(?:\\.|[^\"\\])*\"|'(?:\\.[^']*|[^'\\\n])'", re.DOTALL
    )
    return pattern.sub(lambda found: "\n" * found.group(0).count("\n"), text)


def strip_tests(text):
    """Removes items under `#[cfg(test)]`."""
    marker = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?(?:mod|use|fn|impl|const|static|struct|enum)\b")
    while found := marker.search(text):
        at = found.end()
        while at < len(text) and text[at] not in "{;":
            at += 1
        if at < len(text) and text[at] == "{":
            depth = 0
            while at < len(text):
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
                if depth == 0:
                    break
        else:
            at += 1
        text = text[: found.start()] + text[at:]
    return text


def flatten(tree):
    """The paths of a use tree, as lists of segments; a renamed import keeps its own name."""
    tree = tree.strip()
    head, brace, _ = tree.partition("{")
    if not brace:
        return [[part.strip() for part in re.split(r"\s+as\s+", tree)[0].split("::") if part.strip()]]
    prefix = [part.strip() for part in head.split("::") if part.strip()]
    inner, depth, start, paths = tree[len(head) + 1 : tree.rindex("}")], 0, 0, []
    for at, char in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            if part := inner[start:at].strip():
                paths += [prefix + rest for rest in flatten(part)]
            start = at + 1
    return paths


class Crate:
    """The modules of a crate and the imports between them."""

    def __init__(self, name):
        self.root = ROOT / "crates" / name / "src"
        self.text = {}
        for path in sorted(self.root.rglob("*.rs")):
            self.text[self.module_of(path)] = strip_tests(strip_comments(path.read_text()))
        self.lists = {module: self.listing(module) for module in self.text}

    def module_of(self, path):
        parts = list(path.relative_to(self.root).with_suffix("").parts)
        return () if parts[-1] in ("lib", "main") and len(parts) == 1 else tuple(p for p in parts if p != "mod")

    def file_of(self, module):
        return "/".join(module) + ".rs" if module else "lib.rs"

    def uses(self, module):
        """All imported paths, resolved to start at the crate's root."""
        text = self.text[module]
        declared = re.findall(r"\buse\s+([^;]+);", text)
        paths = [path for tree in declared for path in flatten(tree)]
        rest = re.sub(r"\buse\s+[^;]+;", "", text)
        paths += [found.split("::") for found in re.findall(r"(?<![\w:])((?:crate|super|self)(?:::\w+)+)", rest)]
        for path in paths:
            if resolved := self.absolute(module, path):
                yield resolved

    def absolute(self, module, path):
        if path[0] == "crate":
            return tuple(path[1:])
        base = list(module)
        if path[0] not in ("super", "self"):
            # A child module by its plain name.
            return tuple(base + path) if module + (path[0],) in self.text else None
        rest = list(path)
        while rest and rest[0] in ("super", "self"):
            if rest.pop(0) == "super" and base:
                base.pop()
        return tuple(base + rest)

    def listing(self, module):
        """What a file that only lists modules and re-exports gives out, by name; none where it holds code."""
        text = self.text[module]
        rest = re.sub(r"#!?\[[^\]]*\]", "", text)
        rest = re.sub(r"\b(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*;", "", rest)
        exports = {}
        for tree in re.findall(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]+);", rest):
            for path in flatten(tree):
                exports[path[-1]] = path
        return None if re.sub(r"\bpub(?:\([^)]*\))?\s+use\s+[^;]+;", "", rest).strip() else exports

    def target(self, path, depth=0):
        """The module that an absolute path leads to, through files that only list."""
        module = ()
        for at, name in enumerate(path):
            if module + (name,) in self.text:
                module += (name,)
                continue
            exports = self.lists[module]
            if exports and name in exports and depth < 16:
                further = self.absolute(module, exports[name])
                return self.target(further + tuple(path[at + 1 :]), depth + 1) if further else None
            return module
        return module

    def edges(self):
        edges = {module: set() for module in self.text}
        for module in self.text:
            if self.lists[module] is not None:
                continue
            for path in self.uses(module):
                found = self.target(path)
                if found is not None and found != module and self.lists[found] is None:
                    edges[module].add(found)
        return edges


def circles(edges):
    """Groups of modules that reach each other (Tarjan)."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                groups.append(group)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return groups


def check_circles():
    faults = []
    for name in WITHOUT_CIRCLES:
        crate = Crate(name)
        edges = crate.edges()
        for group in circles(edges):
            faults.append(f"crates/{name}/src has a circle of {len(group)} files; move what both sides need into a file below them:")
            for module in sorted(group):
                used = ", ".join(sorted(crate.file_of(other) for other in edges[module] & set(group)))
                faults.append(f"    {crate.file_of(module)} imports {used}")
    return faults


def check_size():
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "crates/templar/src").rglob("*.rs"))
    if lines < TEMPLAR_LINES:
        return []
    return [f"crates/templar/src has {lines} lines, {TEMPLAR_LINES} or more; move what a library user would want into a library"]


def check_floors():
    faults = []
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    for manifest in sorted((ROOT / "crates").glob("*/Cargo.toml")):
        name = manifest.parent.name
        if name in BESIDE:
            continue
        if name not in floor_of:
            faults.append(f"crates/{name} has no floor; give it one in FLOORS of scripts/structure.py and in ARCHITECTURE.md")
            continue
        document = tomllib.loads(manifest.read_text())
        tables = [document] + list(document.get("target", {}).values())
        for table in tables:
            for package in table.get("dependencies", {}):
                if not package.startswith("templar-"):
                    continue
                used = package.removeprefix("templar-")
                if used in BESIDE and name in USES_BESIDE:
                    continue
                if used in BESIDE:
                    faults.append(f"crates/{name} depends on {used}, which is for tests; make it a dev-dependency")
                elif used in floor_of and floor_of[used] >= floor_of[name] and (name, used) not in WITHIN_FLOOR:
                    faults.append(f"crates/{name} depends upwards on {used}; move what it needs into a crate below both")
    return faults


def main():
    if sys.argv[1:2] == ["--edges"]:
        crate = Crate(sys.argv[2])
        for module, used in sorted(crate.edges().items()):
            for other in sorted(used):
                print(f"{crate.file_of(module)} -> {crate.file_of(other)}")
        return
    faults = check_circles() + check_size() + check_floors()
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print("structure: no circles, no crate depends upwards")


if __name__ == "__main__":
    main()
