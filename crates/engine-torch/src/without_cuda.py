"""Lets the PyTorch of the Python registry load on a machine without CUDA.

That build is linked with CUDA's libraries, some gigabytes that a CPU never calls. For each of them that is missing a
library of the same name is made here, whose every function answers "no device". Needs a C compiler and binutils.
"""

import collections
import importlib.util
import pathlib
import re
import subprocess
import tempfile

folder = pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib"
libraries = sorted(folder.glob("*.so*"))


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


needed, version_of = set(), {}
undefined, defined = set(), set()
for library in libraries:
    needed |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-d", str(library))))
    # Versions that this library asks of others: a line of the file, and a line for each version under it.
    file = None
    for line in output_of("readelf", "-V", "--wide", str(library)).splitlines():
        if found := re.search(r"File: (\S+)", line):
            file = found[1]
        elif file and (found := re.search(r"Name: (\S+)\s+Flags", line)):
            version_of[found[1]] = file
    for line in output_of("nm", "-D", str(library)).splitlines():
        *_, kind, name = line.split()
        (undefined if kind == "U" else defined).add(name)

gpu = re.compile(r"lib(cu|nv|nccl)")
missing = sorted(name for name in needed if gpu.match(name) and not (folder / name).exists())
# For each library its functions by their version; CUDA's functions have plain C names that begin with its own.
functions = {library: collections.defaultdict(list) for library in missing}
own = re.compile(r"(__cuda|cu|nv|nccl)[A-Za-z0-9_]*$")
for symbol in sorted(undefined):
    name, _, version = symbol.partition("@")
    library = version_of.get(version.lstrip("@"))
    if library in functions:
        functions[library][version.lstrip("@")].append(name)
    elif not version and own.match(name) and missing and name not in defined:
        # Without a version it may come from any library.
        functions[missing[0]][""].append(name)

with tempfile.TemporaryDirectory() as scratch:
    source, script = pathlib.Path(scratch, "no_device.c"), pathlib.Path(scratch, "versions")
    for library, versions in functions.items():
        # 100 is cudaErrorNoDevice.
        names = [name for group in versions.values() for name in group]
        source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in names) + "\n")
        groups = {version: group for version, group in versions.items() if version}
        script.write_text("".join(f"{version} {{ {' '.join(f'{name};' for name in g)} }};\n" for version, g in groups.items()))
        options = ["-shared", "-fPIC", "-fno-builtin", "-w", f"-Wl,-soname,{library}"]
        options += [f"-Wl,--version-script={script}"] if groups else []
        subprocess.run(["cc", *options, "-o", str(folder / library), str(source)], check=True)
