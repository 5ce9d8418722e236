#!/usr/bin/env bash
# Builds local.efi, which starts the loader on the disk of a deployed UEFI machine: build.sh --out FOLDER
set -euo pipefail
here=$(dirname "$0")
die() { echo "boot: error: $*" >&2; exit 1; }

[ $# = 2 ] && [ "$1" = --out ] && [ -n "$2" ] || die "usage: $0 --out FOLDER"
command -v grub-mkimage >/dev/null && [ -d /usr/lib/grub/x86_64-efi ] \
    || die "GRUB is missing: run apt-get install grub-common grub-efi-amd64-bin"
mkdir -p "$2"
work=$(mktemp -d "$2/.boot.XXXXXX")
trap 'rm -rf "$work"' EXIT
grep -v '^#' "$here/local.cfg" >"$work/local.cfg"
grub-mkimage -O x86_64-efi -c "$work/local.cfg" -p /grub -o "$work/local.efi" \
    part_gpt part_msdos fat search search_fs_file search_fs_uuid chain boot echo sleep minicmd
mv "$work/local.efi" "$2/local.efi"
