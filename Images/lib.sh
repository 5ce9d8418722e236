# Shared by the image recipes. Sourced, never run; the recipe sets `set -euo pipefail`.
# shellcheck shell=bash

export LC_ALL=C TZ=UTC
umask 022
suite=bookworm
# Every time stamp in an image is this moment (2025-01-01), so that equal inputs give equal bytes.
export SOURCE_DATE_EPOCH=1735689600
images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

log() { printf '%s: %s\n' "$recipe" "$*" >&2; }
die() { printf '%s: error: %s\n' "$recipe" "$*" >&2; exit 1; }

# needs PROGRAM=PACKAGE...: names every missing package at once.
needs() {
    [ "$(id -u)" = 0 ] || die "must be run as root (it unpacks Debian packages with their owners): try sudo"
    local pair missing=()
    for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
    [ ${#missing[@]} = 0 ] || die "programs are missing: run apt-get install ${missing[*]}"
}

# parse_options ARGUMENTS...: sets agent, out, cache, role, variant.
parse_options() {
    agent='' out='' role='' variant=''
    cache=${MUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/muster}/images
    while [ $# -gt 0 ]; do
        case $1 in --agent | --out | --cache | --role | --variant) ;; *) die "unknown argument $1" ;; esac
        [ $# -gt 1 ] && [ -n "$2" ] || die "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
    done
    [ -n "$agent" ] || die "--agent is missing: give the path of the built agent"
    [ -n "$out" ] || die "--out is missing: give the folder for the results"
    [ -f "$agent" ] && [ -x "$agent" ] || die "no executable at $agent: build the agent first"
    mkdir -p "$out" "$cache" || die "cannot write to $out and $cache"
    agent=$(realpath "$agent") out=$(realpath "$out") cache=$(realpath "$cache")
}

# begin MEBIBYTES: takes this recipe's lock and makes $work, a scratch folder on the cache's file system.
begin() {
    exec 9>"$cache/$recipe.lock"
    flock -n 9 || { log "waiting for another build to end"; flock 9; }
    rm -rf --one-file-system "$cache/$recipe".work.*
    local free
    free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$1" ] || die "$cache has $free MiB free and the build needs $1: free some, or set MUSTER_CACHE"
    work=$(mktemp -d "$cache/$recipe.work.XXXXXX")
    chmod 755 "$work"
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
}

# apt_sources FILE: this suite from the mirrors the machine is configured for. Signatures are checked against Debian's keyring.
apt_sources() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg found main security
    [ -f "$keyring" ] || die "$keyring is missing: run apt-get install debian-archive-keyring"
    found=$(
        { cat /etc/apt/sources.list.d/debian.sources 2>/dev/null || :; } | awk '
            /^URIs:/ { uri = $2 } /^Suites:/ { suites = $0 }
            function flush() { if (uri != "" && suites != "") print (suites ~ /-security/ ? "security" : "main"), uri; uri = suites = "" }
            /^[ \t]*$/ { flush() } END { flush() }'
        { cat /etc/apt/sources.list 2>/dev/null || :; } | awk '
            $1 == "deb" { sub(/\[[^]]*\]/, ""); if ($2 ~ /debian/) print ($3 ~ /-security/ ? "security" : "main"), $2 }'
    )
    main=${MUSTER_APT_MIRROR:-$(awk '$1 == "main" { print $2; exit }' <<<"$found")}
    security=${MUSTER_APT_SECURITY_MIRROR:-$(awk '$1 == "security" { print $2; exit }' <<<"$found")}
    [ -n "$main" ] || die "no Debian mirror in /etc/apt: set MUSTER_APT_MIRROR"
    stanza() { printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$1" "$2" "$keyring"; }
    {
        stanza "$main" "$suite $suite-updates"
        if [ -n "$security" ]; then stanza "$security" "$suite-security"
        else log "warning: no security mirror in /etc/apt (set MUSTER_APT_SECURITY_MIRROR)"; fi
    } >"$1"
}

# digest PATH...: one digest over the names and contents of files and folders, as seen from Images/.
digest() {
    (
        cd "$images"
        find "$@" -type f -print0 | sort -z | xargs -0 sha256sum
        find "$@" ! -type d -printf '%p %m %l\n' | sort
    ) | sha256sum | cut -c1-64
}

# packages FILE...: the names in package lists, one a line, joined by commas.
packages() { sed 's/#.*//' "$@" | tr -s ' \n' '\n' | grep . | sort -u | paste -sd,; }

# is_elf FILE
is_elf() { [ "$(head -c4 "$1" | tail -c3)" = ELF ]; }

# add_agent FOLDER NAME SONAMES: a stripped copy as FOLDER/NAME, and in FOLDER/lib what it links to beyond the list in the file SONAMES.
add_agent() {
    local folder=$1 target=$1/$2 sonames=$3 name arrow path rest
    mkdir -p "$folder/lib"
    install -m 755 "$agent" "$target"
    is_elf "$agent" || return 0
    strip "$target" || die "cannot strip $agent"
    if ! ldd "$agent" >"$work/ldd" 2>&1; then
        grep -q 'not a dynamic' "$work/ldd" && return 0
        die "ldd cannot read $agent: $(cat "$work/ldd")"
    fi
    while read -r name arrow path rest; do
        [ "$arrow" = '=>' ] || continue
        grep -qxF "$name" "$sonames" && continue
        [ "$path" != not ] || die "$agent needs $name, which is not on this machine: install its package"
        install -m 644 "$(realpath "$path")" "$folder/lib/$name"
        strip --strip-unneeded "$folder/lib/$name" || die "cannot strip $name"
        log "library $name is copied along"
    done <"$work/ldd"
}

# copy_kept TREE ROOT LIST: copies the files (or folders) that LIST names, and the libraries they link to, from an unpacked Debian.
copy_kept() {
    local path target
    (
        cd "$1"
        # shellcheck disable=SC2013
        for path in $(sed 's/#.*//' "$3"); do
            [ -e "$path" ] || [ -L "$path" ] || die "$3: the packages have no $path"
            if [ -d "$path" ]; then find "$path"; else echo "$path"; fi
        done >"$work/keep"
        while read -r path; do
            case $path in */busybox) continue ;; esac # static
            if [ -f "$path" ] && is_elf "$path"; then
                chroot . /lib64/ld-linux-x86-64.so.2 --list "/$path" | awk '$2 == "=>" { print substr($3, 2) }'
            fi
        done <"$work/keep" >"$work/libraries"
        # Links are followed by hand: absolute ones mean this tree, not the machine's.
        {
            cat "$work/keep" "$work/libraries"
            echo lib64/ld-linux-x86-64.so.2
        } | sort -u | while read -r path; do
            echo "$path"
            while [ -L "$path" ]; do
                target=$(readlink "$path")
                case $target in
                /*) path=${target#/} ;;
                *) path=$(realpath -ms --relative-to=. "$(dirname "$path")/$target") ;;
                esac
                echo "$path"
            done
        done | sort -u | cpio --quiet -pdm "$2"
    )
}

# compress_modules FOLDER: each kernel module by itself, so that a machine unpacks the few that it loads and not all. kmod reads
# them, busybox does not. depmod has to run after this.
compress_modules() { find "$1" -name '*.ko' -print0 | sort -z | xargs -0 -r -n 16 -P "$(nproc)" zstd -q -19 --rm; }

# link_busybox ROOT: a link for every program of busybox that ROOT does not have.
link_busybox() {
    local name folder
    chroot "$1" /bin/busybox --list | while read -r name; do
        for folder in bin sbin usr/bin usr/sbin; do
            if [ -e "$1/$folder/$name" ] || [ -L "$1/$folder/$name" ]; then continue 2; fi
        done
        ln -s /bin/busybox "$1/bin/$name"
    done
}

# pack ROOT FILE LEVEL: a zstd cpio that depends only on names, modes and contents.
pack() {
    find "$1" -mindepth 1 -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$1" && find . -mindepth 1 -print0 | sort -z | cpio --quiet --null --reproducible -o -H newc) | zstd -q -T0 "-$3" -o "$2"
}

# publish FILE...: moves finished results from $work to the output folder, each at once.
publish() {
    local file staging
    staging=$(mktemp -d "$out/.publish.XXXXXX")
    for file; do mv "$work/$file" "$staging/" && mv "$staging/$file" "$out/$file"; done
    rmdir "$staging"
}

# lock OUT NAME PACKAGES RECIPE FILE...: what went in and what came out, as JSON.
lock() {
    python3 - "$work" "$suite" "$SOURCE_DATE_EPOCH" "$agent" "$@" <<'PY'
import hashlib, json, os, sys
work, suite, epoch, agent, out, name, packages, recipe, *files = sys.argv[1:]
def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
rows = sorted(line.split() for line in open(packages))
json.dump({
    "name": name, "suite": suite, "epoch": int(epoch), "recipe": recipe,
    "agent": {"name": os.path.basename(agent), "sha256": sha256(agent), "bytes": os.path.getsize(agent)},
    "outputs": {f: {"sha256": sha256(os.path.join(work, f)), "bytes": os.path.getsize(os.path.join(work, f))} for f in files},
    "packages": {row[0]: row[1] for row in rows},
}, open(os.path.join(work, out), "w"), indent=2)
open(os.path.join(work, out), "a").write("\n")
PY
}
