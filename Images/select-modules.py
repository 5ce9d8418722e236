#!/usr/bin/env python3
"""select-modules.py MODULES_FOLDER LIST: deletes the kernel modules that LIST does not name.

LIST has one entry a line, later ones win: a module's name, `folder/` (everything under kernel/folder/), `!folder/` or
`!name` to leave out. What a kept module depends on, softly too, is kept as well. Prints the modules of the list that do not exist.
"""
import os
import sys

root, listing = sys.argv[1:]
dependencies, paths = {}, {}
for line in open(os.path.join(root, "modules.dep")):
    path, _, rest = line.partition(":")
    dependencies[path] = rest.split()
    paths[os.path.basename(path).removesuffix(".ko").replace("-", "_")] = path

kept = set()
for line in open(listing):
    for entry in line.partition("#")[0].split():
        drop = entry.startswith("!")
        entry = entry.lstrip("!")
        if entry.endswith("/"):
            found = {path for path in dependencies if path.startswith("kernel/" + entry)}
        else:
            found = {paths.get(entry.replace("-", "_"))} - {None}
        if not found:
            print(f"no module matches {entry}", file=sys.stderr)
        kept = kept - found if drop else kept | found

# Soft dependencies name modules or aliases ("crc32c" is any of several).
aliases = {}
for line in open(os.path.join(root, "modules.alias")):
    words = line.split()
    if words[:1] == ["alias"] and words[2].replace("-", "_") in paths:
        aliases.setdefault(words[1], []).append(paths[words[2].replace("-", "_")])
for line in open(os.path.join(root, "modules.softdep")):
    words = line.partition("#")[0].split()
    if words[:1] == ["softdep"] and words[1].replace("-", "_") in paths:
        for word in words[2:]:
            name = word.replace("-", "_")
            found = aliases.get(word, []) + ([paths[name]] if name in paths else [])
            dependencies[paths[words[1].replace("-", "_")]] += found

queue = list(kept)
while queue:
    for other in dependencies[queue.pop()]:
        if other not in kept:
            kept.add(other)
            queue.append(other)

for path in dependencies:
    if path not in kept:
        os.unlink(os.path.join(root, path))
for folder, _, _ in os.walk(root, topdown=False):
    if not os.listdir(folder):
        os.rmdir(folder)
