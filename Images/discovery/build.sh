#!/usr/bin/env bash
# Builds the discovery ramdisk: build.sh --agent FILE --out FOLDER [--cache FOLDER]
set -euo pipefail
recipe=discovery
# shellcheck source=../lib.sh
. "$(dirname "$0")/../lib.sh"

needs mmdebstrap=mmdebstrap zstd=zstd cpio=cpio python3=python3 strip=binutils flock=util-linux
parse_options "$@"
[ -z "$role$variant" ] || die "--role and --variant belong to the node image"
begin 2048
apt_sources "$work/apt.sources"
digest=$(digest lib.sh select-modules.py discovery)
base=$cache/discovery-$({ echo "$digest $suite"; cat "$work/apt.sources"; } | sha256sum | cut -c1-16)

# build_base FOLDER: vmlinuz, base.zst, sonames, packages.
build_base() {
    local tree=$work/tree root=$work/root result=$1 kernel path
    log "unpacking Debian packages"
    mmdebstrap --quiet --variant=extract --mode=root --skip=cleanup/apt --include="$(packages "$images/discovery/packages")" \
        "$suite" "$tree" "$work/apt.sources" || die "mmdebstrap failed: is the mirror reachable?"
    find "$tree/var/cache/apt/archives" -name '*.deb' -exec dpkg-deb --showformat='${Package} ${Version}\n' -W {} \; | sort >"$result/packages"
    kernel=$(basename "$(echo "$tree"/lib/modules/*)")

    # The tree's own programs do the work, so the host needs neither kmod nor busybox.
    depmod() { chroot "$tree" /sbin/depmod "$kernel"; }
    depmod
    python3 "$images/select-modules.py" "$tree/lib/modules/$kernel" "$images/discovery/modules"
    compress_modules "$tree/lib/modules/$kernel"
    depmod

    mkdir -p "$root"/{bin,sbin,dev,etc,proc,root,run,sys,tmp,var,lib/modules,usr/bin,usr/sbin,usr/lib/muster/lib}
    ln -s /run "$root/var/run"
    cp -a "$images/discovery/root/." "$root/"
    chown -R 0:0 "$root"
    copy_kept "$tree" "$root" "$images/discovery/keep"
    cp -a "$tree/lib/modules/$kernel" "$root/lib/modules/"
    link_busybox "$root"
    find "$root" -name '*.so*' -printf '%f\n' | sort -u >"$result/sonames"
    cp "$tree/boot/vmlinuz-$kernel" "$result/vmlinuz"
    log "packing $(du -sm "$root" | cut -f1) MiB"
    pack "$root" "$result/base.zst" 15
}

if [ ! -d "$base" ]; then
    mkdir "$work/base"
    build_base "$work/base"
    mv "$work/base" "$base"
fi

mkdir -p "$work/overlay/usr/lib/muster"
add_agent "$work/overlay/usr/lib/muster" discovery-agent "$base/sonames"
pack "$work/overlay" "$work/agent.zst" 9
# The kernel unpacks one archive after the other.
cat "$base/base.zst" "$work/agent.zst" >"$work/initrd.zst"
cp "$base/vmlinuz" "$work/vmlinuz"
lock lock.json discovery "$base/packages" "$digest" vmlinuz initrd.zst
publish vmlinuz initrd.zst lock.json
log "$(du -m "$out/initrd.zst" | cut -f1) MiB ramdisk in $out"
