import AgentProtocol

/// What a `CrashMachine` starts from its disk, in place of a node image's kernel.
struct MachineImage: Sendable {
    /// The role that it is for.
    var role: Role
    /// The size of the machine's disk in MiB; what is not written takes no space.
    var diskSize: Int
    /// How many MiB of the image cannot be compressed.
    var contentSize: Int
    /// What `boot` is run by: the namespaces that end with the machine's power.
    var unshare: String
    /// A script for bash, given the machine's folder, the partition of its state, and the folder of the programs.
    var boot: String

    /// The network role's agent alone.
    static let network = MachineImage(
        role: .network, diskSize: 96, contentSize: 40, unshare: "unshare --mount",
        boot: """
            set -e
            cd "$1"
            mount -t tmpfs tmpfs /run
            mount --bind boot_id /proc/sys/kernel/random/boot_id
            mount -t ext4 "$2" mnt
            # The one-time token, for whoever would like to use it too.
            cp mnt/muster/agent.json "tokens/$(date +%s%N)"
            exec network-agent "$PWD/mnt/muster"

            """)

    /// A controller with its own processes and files: /state and /usr/lib/muster as a node image has them, the packages of
    /// the host, and an init that starts the agent again. There is no systemd, so the agent starts the services itself;
    /// they outlive it, and end with the init.
    ///
    /// The clock is the host's and nobody's here: no process may set it, and chronyd is told not to try (`-x`).
    static let controller = MachineImage(
        role: .controller, diskSize: 768, contentSize: 4, unshare: "unshare --mount --pid --fork --kill-child",
        boot: """
            set -e
            cd "$1"
            programs=$3
            mkdir -p root && mount -t tmpfs -o mode=755 tmpfs root
            for entry in /*; do
                case $entry in
                /proc | /sys | /dev | /run | /tmp | /var | /usr | /state) ;;
                *) if [ -L "$entry" ]; then cp -P "$entry" root/
                   elif [ -d "$entry" ]; then mkdir "root$entry" && mount --bind "$entry" "root$entry"; fi ;;
                esac
            done
            # /usr/lib with one folder more.
            mkdir -p root/.usr root/usr/lib/muster && mount --bind /usr root/.usr
            for entry in /usr/*; do [ "$entry" = /usr/lib ] || ln -s "/.${entry#/}" "root$entry"; done
            for entry in /usr/lib/*; do [ "$entry" = /usr/lib/muster ] || ln -s "/.${entry#/}" "root$entry"; done
            for program in muster-conductor controller-agent; do
                touch "root/usr/lib/muster/${program#muster-}"
                mount --bind "$programs/$program" "root/usr/lib/muster/${program#muster-}"
            done
            touch root/usr/lib/muster/chronyd && mount --bind /usr/sbin/chronyd root/usr/lib/muster/chronyd
            printf '#!/bin/bash\\nexec -a /usr/sbin/chronyd /usr/lib/muster/chronyd -x "$@"\\n' >root/chronyd
            chmod 755 root/chronyd && mount --bind root/chronyd root/.usr/sbin/chronyd
            mkdir -p root/proc root/sys root/dev root/run/chrony root/tmp root/state root/var/lib/chrony root/var/lib/haproxy
            chown _chrony: root/run/chrony root/var/lib/chrony && chmod 750 root/run/chrony && chmod 1777 root/tmp && ln -s /run root/var/run
            mount --rbind /dev root/dev && mount --rbind /sys root/sys && mount -t proc proc root/proc
            mount --bind boot_id root/proc/sys/kernel/random/boot_id
            e2fsck -p "$2" >/dev/null || [ $? -lt 4 ]
            resize2fs -f "$2" >/dev/null 2>&1
            mount -t ext4 -o noatime "$2" root/state
            exec setpriv --bounding-set -sys_time chroot root /bin/bash -c \\
                'while :; do /usr/lib/muster/controller-agent; sleep 0.2; done'

            """)
}
