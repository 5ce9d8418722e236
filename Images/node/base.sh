# The parts of a node image that are worth keeping: the base of all roles, and a role's packages on it. Sourced by build.sh.
# shellcheck shell=bash

# build_base FOLDER: tree.tar.zst, the base with its kernel and initramfs, still able to take packages.
build_base() {
    local result=$1 tree=$work/tree kernel
    # Debian's initramfs is not used: let it be made quickly, and never again.
    cat >"$work/essential-hook" <<'HOOK'
#!/bin/sh
mkdir -p "$1/etc/initramfs-tools/conf.d" && printf 'MODULES=list\n' >"$1/etc/initramfs-tools/conf.d/muster"
HOOK
    chmod 755 "$work/essential-hook"
    log "installing the base of all roles (a few minutes)"
    mmdebstrap --quiet --variant=essential --mode=root --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --skip=cleanup/apt/lists \
        --essential-hook="$work/essential-hook" --include="$(packages "$images/node/packages")" \
        "${dpkg_options[@]/#/--dpkgopt=}" "$suite" "$tree" "$work/apt.sources" >"$work/mmdebstrap.log" 2>&1 || {
        tail -n 30 "$work/mmdebstrap.log" >&2
        die "mmdebstrap failed: is the mirror reachable?"
    }
    printf 'update_initramfs=no\n' >"$tree/etc/initramfs-tools/update-initramfs.conf"
    kernel=$(basename "$(echo "$tree"/usr/lib/modules/*)")
    python3 "$images/select-modules.py" "$tree/usr/lib/modules/$kernel" "$images/node/modules"
    chroot "$tree" depmod "$kernel"
    build_initramfs "$tree" "$kernel"
    compress_modules "$tree/usr/lib/modules/$kernel"
    chroot "$tree" depmod "$kernel"
    (
        cd "$tree"
        rm -rf boot/System.map-* boot/initrd.img-* initrd.img* vmlinuz*
        ln -s "vmlinuz-$kernel" boot/vmlinuz
        mv "$work/initrd.zst" boot/initrd.img
        tar -c --sort=name --numeric-owner --xattrs --xattrs-include='*' . | zstd -q -T0 -1 -o "$result/tree.tar.zst"
    )
    rm -rf --one-file-system "$tree"
}

# build_role BASE FOLDER: base.tar.zst, the base in folder BASE with the role's packages, configured and trimmed; packages.
build_role() {
    local base=$1 result=$2 tree=$work/tree wanted
    mkdir "$tree"
    zstd -dcq "$base/tree.tar.zst" | tar -x --numeric-owner --xattrs --xattrs-include='*' -C "$tree"
    wanted=$(packages "$images/node/roles/$role.packages")
    if [ -n "$wanted" ]; then
        log "installing the packages of the role $role"
        install_packages "$tree" "${wanted//,/ }" >"$work/apt.log" 2>&1 || {
            tail -n 30 "$work/apt.log" >&2
            die "apt-get failed: is the mirror reachable?"
        }
    fi
    chroot "$tree" dpkg-query -W -f '${Package} ${Version}\n' | sort >"$result/packages"
    (
        cd "$tree"
        rm -rf etc/apt etc/udev/hwdb.bin usr/lib/udev/hwdb.bin \
            usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service \
            etc/ssh/ssh_host_* etc/machine-id var/lib/dbus/machine-id etc/hostname etc/resolv.conf etc/*- \
            var/cache/* var/log/* var/lib/apt var/lib/dpkg/*-old var/lib/systemd/random-seed dev tmp run state \
            usr/share/{doc,info,lintian,locale,man}
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

# What no node needs of a package.
dpkg_options=(
    'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/locale/*' 'path-exclude=/usr/share/man/*'
    'path-exclude=/usr/share/info/*' 'path-exclude=/usr/share/lintian/*'
    'path-exclude=/usr/lib/udev/hwdb.d/*' 'path-exclude=/lib/udev/hwdb.d/*'
    'path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*'
)

# install_packages TREE PACKAGE...: with this machine's apt, as mmdebstrap does it; what the packages start is not started.
install_packages() {
    local tree=$1 option
    shift
    {
        printf 'Dir "%s";\nDPkg::Chroot-Directory "%s";\nAPT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n' "$tree" "$tree"
        printf 'APT::Install-Recommends "false";\nAPT::Sandbox::User "root";\nDPkg::Use-Pty "false";\n'
        printf 'Dir::Etc::Trusted "/etc/apt/trusted.gpg";\nDir::Etc::TrustedParts "/etc/apt/trusted.gpg.d";\n'
        for option in "${dpkg_options[@]}"; do printf 'DPkg::Options:: "--%s";\n' "$option"; done
    } >"$work/apt.conf"
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2016
    unshare -m --propagation private env APT_CONFIG="$work/apt.conf" DEBIAN_FRONTEND=noninteractive bash -euc '
        tree=$1
        shift
        mount -t proc proc "$tree/proc"
        mount -t tmpfs tmpfs "$tree/run"
        # The lists are those of the base; the mirror may have gone on since.
        apt-get install --yes --quiet "$@" || { apt-get update --quiet && apt-get install --yes --quiet "$@"; }
    ' bash "$tree" $* || return 1
    rm "$tree/usr/sbin/policy-rc.d"
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
