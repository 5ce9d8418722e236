#!/usr/bin/env bash
# Builds a node image: build.sh --role ROLE --agent FILE --out FOLDER [--conductor FILE] [--cache FOLDER] [--variant FOLDER]
# The role controller, and it alone, has a conductor in its image.
set -euo pipefail
recipe=node
# shellcheck source=../lib.sh
. "$(dirname "$0")/../lib.sh"

needs mmdebstrap=mmdebstrap zstd=zstd python3=python3 strip=binutils flock=util-linux sfdisk=fdisk mkfs.ext4=e2fsprogs debugfs=e2fsprogs \
    mkfs.vfat=dosfstools mcopy=mtools grub-mkimage=grub-common
[ -d /usr/lib/grub/i386-pc ] || die "GRUB is missing: run apt-get install grub-pc-bin"
shim=/usr/lib/shim/shimx64.efi.signed signed_grub=/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed
[ -f $shim ] && [ -f $signed_grub ] || die "signed boot programs are missing: run apt-get install shim-signed grub-efi-amd64-signed"
conductor='' options=()
while [ $# -gt 0 ]; do
    if [ "$1" = --conductor ]; then
        [ $# -gt 1 ] && [ -f "$2" ] && [ -x "$2" ] || die "no executable at '${2:-}': build muster-conductor first"
        conductor=$(realpath "$2")
        shift
    else options+=("$1"); fi
    shift
done
parse_options "${options[@]}"
[ -n "$role" ] || die "--role is missing: one of $(basename -as .packages "$images"/node/roles/*.packages | paste -sd' ')"
[ -f "$images/node/roles/$role.packages" ] || die "no role $role: one of $(basename -as .packages "$images"/node/roles/*.packages | paste -sd' ')"
if [ "$role" = controller ]; then [ -n "$conductor" ] || die "--conductor is missing: give the path of the built muster-conductor"
elif [ -n "$conductor" ]; then die "only controllers run a conductor: leave --conductor out for the role $role"; fi
[ -z "$variant" ] || [ -d "$variant" ] || die "--variant $variant is not a folder"
begin 6144
# role_files: what the role adds to the base, as seen from Images/.
role_files() { (cd "$images" && find node/roles -maxdepth 1 -name "$role.*"); }
apt_sources "$work/apt.sources"
digest=$(digest lib.sh select-modules.py node/base.sh node/build.sh node/grub.cfg node/initramfs node/packages node/modules node/root node/units $(role_files))
# key FILE...: names what is made of these files and the mirrors.
key() { { digest "$@"; cat "$work/apt.sources"; } | sha256sum | cut -c1-16; }
base_key=$(key lib.sh select-modules.py node/base.sh node/initramfs node/packages node/modules)
base=$cache/node-base-$base_key
role_base=$cache/node-$role-$({ echo "$base_key"; digest "node/roles/$role.packages"; } | sha256sum | cut -c1-16)
# shellcheck source=base.sh
. "$images/node/base.sh"

# keep FOLDER COMMAND...: makes the cached FOLDER, whole or not at all, by COMMAND with a scratch folder as its last argument.
keep() {
    local folder=$1
    shift
    [ ! -d "$folder" ] || return 0
    mkdir "$work/kept"
    "$@" "$work/kept"
    mv "$work/kept" "$folder"
}
if [ ! -d "$role_base" ]; then
    keep "$base" build_base
    keep "$role_base" build_role "$base"
fi
base=$role_base

# The final layout. Sizes and starts in MiB; the identifiers are fixed, so that equal inputs give equal bytes.
disk_uuid=4D757374-6572-4E6F-8465-000000000000
root_a=4d757374-6572-4e6f-8465-00000000000a root_b=4d757374-6572-4e6f-8465-00000000000b
state=4d757374-6572-4e6f-8465-000000000005 esp_id=4D555354
esp_start=2 esp_size=64 root_size=768 state_size=128
a_start=$((esp_start + esp_size)) b_start=$((esp_start + esp_size + root_size)) state_start=$((esp_start + esp_size + 2 * root_size))

export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH
# file_system FILE MIB LABEL UUID FOLDER OPTIONS...: ext4 with every time stamp fixed (mke2fs copies the change times of the source).
file_system() {
    local file=$1 size=$2 label=$3 uuid=$4 folder=$5 last
    shift 5
    truncate -s "${size}M" "$file"
    mkfs.ext4 -q -b 4096 -L "$label" -U "$uuid" -E "hash_seed=$uuid,nodiscard" -O ^metadata_csum_seed,^orphan_file "$@" -d "$folder" "$file" ||
        die "the $label file system does not fit in $size MiB"
    last=$(dumpe2fs -h "$file" 2>/dev/null | awk '/^Inode count:/ { n = $3 } /^Free inodes:/ { print n - $3 }')
    # Inodes are given out in order, without gaps.
    for ((i = 2; i <= last; i++)); do
        [ "$i" -gt 2 ] && [ "$i" -lt 11 ] || printf 'sif <%s> ctime @%s\nsif <%s> ctime_extra 0\nsif <%s> atime @%s\nsif <%s> atime_extra 0\n' "$i" "$SOURCE_DATE_EPOCH" "$i" "$i" "$SOURCE_DATE_EPOCH" "$i"
    done | debugfs -w -f - "$file" >/dev/null 2>"$work/debugfs" || die "debugfs failed"
    ! grep -v '^debugfs ' "$work/debugfs" || die "debugfs failed"
}


# build_root FOLDER: root.ext4 without what changes from build to build, the paths in it, and its sonames.
build_root() {
    local tree=$work/tree verb unit
    log "root file system"
    mkdir "$tree"
    zstd -dcq "$base/base.tar.zst" | tar -x --numeric-owner --xattrs --xattrs-include='*' -C "$tree"
    cp -a --no-preserve=ownership "$images/node/root/." "$tree/"
    [ ! -d "$images/node/roles/$role.root" ] || cp -a --no-preserve=ownership "$images/node/roles/$role.root/." "$tree/"
    mkdir -p "$tree/usr/lib/muster/lib"
    while read -r verb unit; do
        chroot "$tree" systemctl -q "$verb" "$unit" 2>/dev/null || die "cannot $verb $unit"
    done < <(cat "$images/node/units" "$images/node/roles/$role.units" 2>/dev/null | grep -v '^#')
    cp "$tree/etc/debian_version" "$1/debian_version"
    find "$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/lib64" -maxdepth 1 -name '*.so*' -printf '%f\n' | sort -u >"$1/sonames"
    find "$tree" -mindepth 1 -printf '%P\n' | sort >"$1/paths"
    find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    file_system "$1/root.ext4" $root_size root "$root_a" "$tree" -m 0 -O ^has_journal,^resize_inode
    rm -rf --one-file-system "$tree"
}

# add_files IMAGE FOLDER PATHS: writes the files of FOLDER into the finished file system, in place of those in PATHS.
# Everything else stays where it is, so a new agent changes no other block of the image.
add_files() {
    local type mode path target name time=@$SOURCE_DATE_EPOCH
    find "$2" -mindepth 1 -printf '%y %m %P\n' | sort -k3 | while read -r type mode path; do
        name=${path##*/}
        if grep -qxF "$path" "$3"; then
            [ "$type" != d ] || continue
            printf 'rm "/%s"\n' "$path"
        fi
        printf 'cd "/%s"\n' "$(dirname "$path")"
        case $type in
        d) printf 'mkdir "%s"\n' "$name" && mode=40$mode ;;
        f) printf 'write "%s" "%s"\n' "$2/$path" "$name" && mode=100$mode ;;
        l) target=$(readlink "$2/$path") && printf 'symlink "%s" "%s"\n' "$name" "$target" && mode=120777 ;;
        *) die "$path is neither a file, a folder nor a link" ;;
        esac
        printf 'sif "/%s" mode 0%s\nsif "/%s" uid 0\nsif "/%s" gid 0\n' "$path" "$mode" "$path" "$path"
        printf "sif \"/$path\" %s $time\n" atime ctime mtime crtime
        printf "sif \"/$path\" %s 0\n" atime_extra ctime_extra mtime_extra crtime_extra
    done >"$work/commands"
    debugfs -w -f "$work/commands" "$1" >/dev/null 2>"$work/debugfs" || die "debugfs failed"
    ! grep -v '^debugfs ' "$work/debugfs" >&2 || die "debugfs could not add the files: is the root file system full?"
    e2fsck -fn "$1" >"$work/e2fsck" 2>&1 || die "the root file system is damaged: $(cat "$work/e2fsck")"
}

root=$base/root-$(digest lib.sh node/build.sh node/root node/units $(role_files) | cut -c1-16)
if [ ! -d "$root" ]; then
    rm -rf "$base"/root-*
    keep "$root" build_root
fi
mkdir -p "$work/add/usr/lib/muster" "$work/add/etc"
# add_conductor TREE: the conductor, and where it looks for them the programs that it gives to firmware beside the package ipxe.
add_conductor() {
    local program
    agent=$conductor add_agent "$1/usr/lib/muster" conductor "$root/sonames"
    "$images/boot/build.sh" --out "$1/usr/lib/muster"
    for program in $shim ${signed_grub%/*}/grubnetx64.efi.signed; do
        [ -f "$program" ] || die "$program is missing: run apt-get install shim-signed grub-efi-amd64-signed"
        mkdir -p "$1${program%/*}"
        install -m 644 "$program" "$1$program"
    done
}
add_agent "$work/add/usr/lib/muster" agent "$root/sonames"
[ -z "$conductor" ] || add_conductor "$work/add"
printf '{"name": "node-%s", "role": "%s", "debian": "%s", "recipe": "%s"}\n' "$role" "$role" "$(cat "$root/debian_version")" "$digest" >"$work/add/etc/muster-release"
[ -z "$variant" ] || cp -a --no-preserve=ownership "$variant/." "$work/add/"
log "adding the programs"
cp --sparse=always --reflink=auto "$root/root.ext4" "$work/root.ext4"
add_files "$work/root.ext4" "$work/add" "$root/paths"

mkdir -p "$work/state"/{muster/network,ssh,var/upper,var/work}
chmod 700 "$work/state"/{muster,ssh}
find "$work/state" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
file_system "$work/state.ext4" $state_size state "$state" "$work/state" -m 1

esp=$work/esp.img
truncate -s ${esp_size}M "$esp"
mkfs.vfat -s 1 -F 32 -n ESP --invariant -i "$esp_id" "$esp" >/dev/null
modules=(part_gpt fat ext2 normal configfile linux echo serial terminal terminfo regexp test probe loadenv minicmd ls cat sleep reboot halt true biosdisk)
grub-mkimage -O i386-pc -p '(,gpt2)/grub' -o "$work/core.img" "${modules[@]}"
cp "$images/node/grub.cfg" "$work/grub.cfg"
{ printf '# GRUB Environment Block\nslot=a\n'; printf '%1024s' '' | tr ' ' '#'; } | head -c 1024 >"$work/grubenv"
# UEFI starts Debian's shim, that starts Debian's signed GRUB from beside it, and that looks for its configuration in EFI/debian.
install -m 644 $shim "$work/BOOTX64.EFI"
install -m 644 $signed_grub "$work/grubx64.efi"
printf 'set prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n' >"$work/signed.cfg"
touch -d "@$SOURCE_DATE_EPOCH" "$work"/{BOOTX64.EFI,grubx64.efi,signed.cfg,grub.cfg,grubenv}
mmd -i "$esp" ::EFI ::EFI/BOOT ::EFI/debian ::grub
mcopy -m -i "$esp" "$work/BOOTX64.EFI" "$work/grubx64.efi" ::EFI/BOOT/
mcopy -m -i "$esp" "$work/signed.cfg" ::EFI/debian/grub.cfg
mcopy -m -i "$esp" "$work/grub.cfg" "$work/grubenv" ::grub/

log "disk"
image=node-$role.raw
truncate -s $((state_start + state_size + 1))M "$work/$image"
sfdisk -q "$work/$image" <<SFDISK
label: gpt
label-id: $disk_uuid
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, uuid=4d757374-6572-4e6f-8465-000000000001, name=biosboot
start=${esp_start}MiB, size=${esp_size}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=4d757374-6572-4e6f-8465-000000000002, name=esp
start=${a_start}MiB, size=${root_size}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$root_a, name=root-a
start=${b_start}MiB, size=${root_size}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$root_b, name=root-b
start=${state_start}MiB, size=${state_size}MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=$state, name=state
SFDISK
python3 - "$work/$image" "$work/core.img" <<'PY'
import struct, sys
image, core = sys.argv[1:]
boot = bytearray(open("/usr/lib/grub/i386-pc/boot.img", "rb").read())
core = bytearray(open(core, "rb").read())
sectors = (len(core) + 511) // 512
assert sectors <= 2048, "GRUB does not fit in the BIOS boot partition"
boot[0x5C:0x64] = struct.pack("<Q", 2048)                            # where core.img starts
boot[0x66:0x68] = b"\x90\x90"                                        # boot from the drive the BIOS names
core[0x1F4:0x200] = struct.pack("<QHH", 2049, sectors - 1, 0x820)    # where its remainder is, and where it goes
with open(image, "r+b") as f:
    f.write(boot[:440])
    f.seek(2048 * 512)
    f.write(core)
PY
place() { dd if="$1" of="$work/$image" bs=1M seek="$2" conv=notrunc,sparse status=none; }
place "$esp" $esp_start
place "$work/root.ext4" $a_start
place "$work/state.ext4" $state_start
lock "node-$role.lock.json" "node-$role" "$base/packages" "$digest" "$image"
publish "$image" "node-$role.lock.json"
log "$(du -m "$out/$image" | cut -f1) MiB allocated, $(dumpe2fs -h "$work/root.ext4" 2>/dev/null | awk '/^Block count:/ { n = $3 } /^Free blocks:/ { print int((n - $3) / 256) }') MiB used in the root file system"
