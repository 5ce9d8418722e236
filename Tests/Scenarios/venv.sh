#!/usr/bin/env bash
# Makes a Python environment in the cache and prints its folder: venv.sh NAME REQUIREMENTS-FILE
# It is made anew when the file has changed.
set -euo pipefail
cache=${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}
folder=$cache/$1
if ! cmp -s "$2" "$folder/requirements.txt"; then
    echo "making the Python environment $folder" >&2
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2 || { rm -rf "$folder"; exit 1; }
    cp "$2" "$folder/requirements.txt"
fi
echo "$folder"
