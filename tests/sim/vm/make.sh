#!/usr/bin/env bash
# Makes what QEMU guests need, once: a root filesystem with QEMU and an NFS server, apart from this machine's own
# packages, and the kernel and the disk that guests start from. Prints the two folders. Quick when they are there.
#
# Usage: tests/sim/vm/make.sh CACHE     (as root)
#
# This text is part of the cache's key: any change makes both anew.
set -euo pipefail

cache=${1:?usage: make.sh CACHE}
suite=trixie
if [[ $(uname -m) != x86_64 ]]; then
    echo "make: guests need a machine with an x86_64 processor, and this one is $(uname -m)" >&2
    exit 1
fi
key=$suite-$(sha256sum "${BASH_SOURCE[0]}" | head -c 32)
tools=$cache/tools-$key guest=$cache/guest-$key
if [[ ! -d $tools || ! -d $guest ]]; then
    # What an interrupted run has mounted goes with its namespace.
    if [[ ${2-} != --apart ]]; then
        exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$cache" --apart
    fi
    mkdir -p "$cache"
    exec 9>"$cache/$key.lock"
    flock 9
fi

# debian FOLDER PACKAGES: a root filesystem, with no more in it than it needs.
debian() {
    mmdebstrap --mode=root --variant=essential --format=directory --include="$2" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$1" >&2
}

if [[ ! -d $tools ]]; then
    rm -rf --one-file-system "$tools.partial"
    debian "$tools.partial" qemu-system-x86,qemu-utils,genisoimage,nfs-ganesha,nfs-ganesha-vfs
    # The NFS server looks there for what is mounted.
    ln -s ../proc/self/mounts "$tools.partial/etc/mtab"
    sync -f "$tools.partial"
    mv -T "$tools.partial" "$tools"
fi
if [[ -d $guest ]]; then
    printf '%s\n%s\n' "$tools" "$guest"
    exit
fi

partial=$guest.partial
rm -rf --one-file-system "$partial"
mkdir "$partial"
# Like a cloud's images it has no Nix.
debian "$partial/root" systemd-sysv,dbus,udev,kmod,openssh-server,cloud-init,sudo,iproute2,procps,e2fsprogs,zstd,mount,ca-certificates,nfs-common,xz-utils,linux-image-cloud-amd64
cd "$partial/root"

# An emulated processor is slow: what a box that lives for minutes does without is left out.
mask() {
    for unit in "$@"; do
        ln -sf /dev/null "etc/systemd/system/$unit"
    done
}
mask systemd-resolved.service systemd-timesyncd.service ssh.socket \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer \
    e2scrub_all.timer e2scrub_reap.service systemd-firstboot.service getty.target serial-getty@ttyS0.service \
    dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    rpcbind.service rpcbind.socket rpc-gssd.service rpc-statd-notify.service nfs-blkmap.service nfs-idmapd.service \
    sys-kernel-config.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service modprobe@.service \
    systemd-pstore.service systemd-udev-load-credentials.service systemd-update-utmp.service \
    systemd-journal-flush.service systemd-networkd-persistent-storage.service cloud-init-hotplugd.socket
ln -sf /usr/lib/systemd/system/multi-user.target etc/systemd/system/default.target

# QEMU's own network: every guest is alone on it, with this machine as 10.0.2.2.
wants() {
    mkdir -p "etc/systemd/system/$1.wants"
    ln -sf "/usr/lib/systemd/system/$2" "etc/systemd/system/$1.wants/$2"
}
wants multi-user.target systemd-networkd.service
wants network-online.target systemd-networkd-wait-online.service
cat >etc/systemd/network/10-qemu.network <<'NETWORK'
[Match]
Driver=virtio_net

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
NETWORK

cat >etc/cloud/cloud.cfg.d/90_guest.cfg <<'CLOUD'
datasource_list: [NoCloud]
network: {config: disabled}
locale: C.UTF-8
apt: {preserve_sources_list: true}
package_update: false
package_upgrade: false
growpart: {mode: 'off'}
resize_rootfs: false
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message]
system_info:
  default_user:
    name: ubuntu
    gecos: Ubuntu
    lock_passwd: true
    shell: /bin/bash
    groups: [adm, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
CLOUD

# cloud-init reads the same YAML a dozen times: by the C library, which takes a tenth of the time.
echo 'SafeLoader = CSafeLoader' >>usr/lib/python3/dist-packages/yaml/__init__.py
chroot . python3 -c 'import yaml; assert yaml.safe_load("{a: 1}") == {"a": 1}'

# The console is kept in a file: what happened there is evidence.
mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nForwardToConsole=yes\nMaxLevelConsole=info\nTTYPath=/dev/ttyS0\n' \
    >etc/systemd/journald.conf.d/guest.conf

# As Ubuntu has it: Debian gives users no sbin folders.
echo 'PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' >etc/environment

# Empty, not absent: an absent machine-id asks for a first-boot set-up.
: >etc/machine-id
: >etc/fstab
rm -f etc/resolv.conf etc/hostname etc/ssh/ssh_host_*
: >etc/resolv.conf
rm -rf var/lib/cloud/seed var/lib/cloud/instance var/lib/cloud/instances
mkdir -p lambda/nfs nix
touch etc/.updated var/.updated

# The kernel has NVMe and ext4 built in, so it needs no initrd. Its modules are unpacked here, where that is quick.
chroot . find /usr/lib/modules -name '*.ko.xz' -exec unxz {} +
for version in usr/lib/modules/*; do
    chroot . depmod "${version##*/}"
done
cd "$partial"
mv root/boot/vmlinuz-* kernel
rm -f root/boot/initrd.img-*
mke2fs -q -t ext4 -L root -E lazy_itable_init=1,nodiscard -d root disk.img 8G
rm -rf --one-file-system root
sync -f .
mv -T "$partial" "$guest"
printf '%s\n%s\n' "$tools" "$guest"
