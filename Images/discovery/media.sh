#!/usr/bin/env bash
# Makes boot.iso of the discovery ramdisk, for machines that boot from virtual media: media.sh --from FOLDER --out FOLDER
# FOLDER has vmlinuz and initrd.zst. BIOS and UEFI machines boot it by GRUB. /muster/boot.cfg in it is a place that the
# conductor fills in for each BMC when it serves the file: 4096 bytes that nothing else depends on.
set -euo pipefail
die() { echo "media: error: $*" >&2; exit 1; }

[ $# = 4 ] && [ "$1" = --from ] && [ -n "$2" ] && [ "$3" = --out ] && [ -n "$4" ] || die "usage: $0 --from FOLDER --out FOLDER"
from=$2 out=$4
for pair in grub-mkrescue=grub-common xorriso=xorriso mformat=mtools; do
    command -v "${pair%%=*}" >/dev/null || die "${pair%%=*} is missing: run apt-get install ${pair#*=}"
done
for platform in i386-pc=grub-pc-bin x86_64-efi=grub-efi-amd64-bin; do
    [ -d "/usr/lib/grub/${platform%%=*}" ] || die "GRUB is missing: run apt-get install ${platform#*=}"
done
for file in vmlinuz initrd.zst; do
    [ -s "$from/$file" ] || die "$from/$file is missing: build the ramdisk first (Images/discovery/build.sh)"
done
mkdir -p "$out"
work=$(mktemp -d "$out/.media.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree/boot/grub" "$work/tree/muster"
cp "$from/vmlinuz" "$from/initrd.zst" "$work/tree/muster/"
cat >"$work/tree/boot/grub/grub.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_output console serial
set timeout=0
echo "Muster: booting from the medium"
source /muster/boot.cfg
echo "Muster: this medium did not come from a conductor, or its files are damaged; the firmware goes on in 10 s"
sleep 10
exit
CFG
python3 - "$work/tree/muster/boot.cfg" <<'PY'
import sys
# The first line is how the place is found; it must not occur anywhere else in the file.
head = b"#muster-boot-medium-1 b2c9f0d6e35a47c1\n"
with open(sys.argv[1], "wb") as f:
    f.write(head + b"#" * (4096 - len(head) - 1) + b"\n")
PY
grub-mkrescue --fonts= --locales= --themes= -o "$work/boot.iso" "$work/tree" \
    --install-modules="normal linux iso9660 part_gpt part_msdos fat search search_fs_uuid search_fs_file echo sleep serial terminal minicmd test configfile" \
    -- -volid MUSTER >"$work/log" 2>&1 || { cat "$work/log" >&2; die "grub-mkrescue failed"; }
[ "$(grep -aoF '#muster-boot-medium-1 b2c9f0d6e35a47c1' "$work/boot.iso" | wc -l)" = 1 ] \
    || die "the place for the configuration is not in boot.iso exactly once"
mv "$work/boot.iso" "$out/boot.iso"
echo "media: $(du -m "$out/boot.iso" | cut -f1) MiB medium in $out" >&2
