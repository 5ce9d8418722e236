# The part of a node image that is worth keeping: Debian's packages, configured and trimmed. Sourced by build.sh.
# shellcheck shell=bash

# build_base FOLDER: base.tar.zst, packages.
build_base() {
    local result=$1 tree=$work/tree kernel
    # Debian's initramfs is not used: let it be made quickly.
    cat >"$work/essential-hook" <<'HOOK'
#!/bin/sh
mkdir -p "$1/etc/initramfs-tools/conf.d" && printf 'MODULES=list\n' >"$1/etc/initramfs-tools/conf.d/muster"
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
    build_initramfs "$tree" "$kernel"
    (
        cd "$tree"
        rm -f boot/System.map-* boot/initrd.img-*
        ln -s "vmlinuz-$kernel" boot/vmlinuz
        mv "$work/initrd.zst" boot/initrd.img
        rm -rf initrd.img* vmlinuz* etc/apt etc/udev/hwdb.bin usr/lib/udev/hwdb.bin \
            usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service \
            etc/ssh/ssh_host_* etc/machine-id var/lib/dbus/machine-id etc/hostname etc/resolv.conf etc/*- \
            var/cache/* var/log/* var/lib/apt var/lib/dpkg/*-old var/lib/systemd/random-seed dev tmp run state
        # logind is started by who asks for it.
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

# build_initramfs TREE KERNEL: $work/initrd.zst.
build_initramfs() {
    local tree=$1 kernel=$2 root=$work/initramfs folder
    # The tree has /bin, /lib and so on merged into /usr; the same links make the kept paths fit.
    mkdir -p "$root"/{dev,proc,root,run,sys,usr/bin,usr/sbin,usr/lib/modules,usr/lib64}
    for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
    copy_kept "$tree" "$root" "$images/node/initramfs/keep"
    ln -s /bin/busybox "$root/usr/sbin/modprobe" # where the kernel looks for it
    link_busybox "$root"
    install -m 755 "$images/node/initramfs/init" "$root/init"
    cp -a "$tree/usr/lib/modules/$kernel" "$root/usr/lib/modules/"
    python3 "$images/select-modules.py" "$root/usr/lib/modules/$kernel" "$images/node/initramfs/modules"
    mkdir -p "$tree/mnt/initramfs/lib"
    mv "$root/usr/lib/modules" "$tree/mnt/initramfs/lib/modules"
    chroot "$tree" depmod -b /mnt/initramfs "$kernel"
    mv "$tree/mnt/initramfs/lib/modules" "$root/usr/lib/modules"
    rm -rf "$tree/mnt/initramfs"
    pack "$root" "$work/initrd.zst" 15
}
