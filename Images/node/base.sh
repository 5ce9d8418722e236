# The part of a node image that is worth keeping: Debian's packages, configured and trimmed. Sourced by build.sh.
# shellcheck shell=bash

# build_base FOLDER: base.tar.zst, packages.
build_base() {
    local result=$1 tree=$work/tree kernel
    # The initramfs is told beforehand what to hold: packing everything takes a minute more and 25 MiB.
    cat >"$work/essential-hook" <<HOOK
#!/bin/sh
set -e
mkdir -p "\$1/etc/initramfs-tools/conf.d" "\$1/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=zstd\nFSTYPE=ext4\n' >"\$1/etc/initramfs-tools/conf.d/muster"
printf '#!/bin/sh\n[ "\$1" = prereqs ] && exit 0\n. /usr/share/initramfs-tools/hook-functions\nmanual_add_modules %s\n' \
    '$(packages "$images/node/initramfs-modules" | tr , ' ')' >"\$1/etc/initramfs-tools/hooks/muster"
chmod 755 "\$1/etc/initramfs-tools/hooks/muster"
HOOK
    chmod 755 "$work/essential-hook"
    log "installing Debian packages (a few minutes)"
    mmdebstrap --quiet --variant=essential --mode=root --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --essential-hook="$work/essential-hook" --include="$(packages "$images/node/packages" "$images/node/roles/$role.packages")" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
        --dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*' --dpkgopt='path-exclude=/lib/udev/hwdb.d/*' \
        --dpkgopt='path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*' \
        "$suite" "$tree" "$work/apt.sources" >"$work/mmdebstrap.log" 2>&1 || {
        tail -n 30 "$work/mmdebstrap.log" >&2
        die "mmdebstrap failed: is the mirror reachable?"
    }
    chroot "$tree" dpkg-query -W -f '${Package} ${Version}\n' | sort >"$result/packages"
    kernel=$(basename "$(echo "$tree"/usr/lib/modules/*)")
    python3 "$images/select-modules.py" "$tree/usr/lib/modules/$kernel" "$images/node/modules"
    chroot "$tree" depmod "$kernel"
    (
        cd "$tree"
        ln -s "vmlinuz-$kernel" boot/vmlinuz
        ln -s "initrd.img-$kernel" boot/initrd.img
        rm -rf boot/System.map-* initrd.img* vmlinuz* etc/apt etc/udev/hwdb.bin usr/lib/udev/hwdb.bin \
            etc/ssh/ssh_host_* etc/machine-id var/lib/dbus/machine-id etc/hostname etc/resolv.conf etc/*- \
            var/cache/* var/log/* var/lib/apt var/lib/dpkg/*-old var/lib/systemd/random-seed dev tmp run state
        mkdir -m 755 dev run state
        mkdir -m 1777 tmp
        mkdir -p var/cache/ldconfig var/lib/dbus var/log
        ln -s /etc/machine-id var/lib/dbus/machine-id
        # Empty, not missing: the boot is not taken for a first one.
        : >etc/machine-id
        # So that systemd does not redo at every boot what was done here.
        touch -d "@$SOURCE_DATE_EPOCH" etc/.updated var/.updated
        find . -mindepth 1 -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
        tar -c --sort=name --numeric-owner --xattrs --xattrs-include='*' . | zstd -q -T0 -6 -o "$result/base.tar.zst"
    )
    rm -rf --one-file-system "$tree"
}
