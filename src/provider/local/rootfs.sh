#!/bin/sh
# Makes the root filesystem that every local box has as its lower layer: Debian with systemd, sshd
# and cloud-init, so that a box differs from another by its cloud-init seed alone.
#
# ROOT          the folder to make; must not exist
# SUITE         the Debian suite
# ARCHITECTURE  Debian's name of the architecture
# EMULATED      `yes` where qemu-user runs it
#
# This text is part of the cache's key: any change makes a new root filesystem.
set -eu

: "${ROOT:?}" "${SUITE:?}" "${ARCHITECTURE:?}" "${EMULATED?}"

packages=systemd-sysv,dbus,openssh-server,cloud-init,sudo,iproute2,procps,e2fsprogs,zstd,mount,nix-bin,ca-certificates

mmdebstrap --mode=root --variant=essential --format=directory --include="$packages" \
    --architectures="$ARCHITECTURE" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$ROOT"

cd "$ROOT"

# Network and name are made from outside, before the box starts; ssh listens on its own instead of
# by socket; nobody looks after a box that lives for hours, nor logs in at its console.
mask() {
    for unit in "$@"; do
        ln -sf /dev/null "etc/systemd/system/$unit"
    done
}
mask systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service ssh.socket \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer \
    e2scrub_all.timer e2scrub_reap.service systemd-firstboot.service \
    console-getty.service getty.target dev-hugepages.mount sys-fs-fuse-connections.mount
ln -sf /usr/lib/systemd/system/multi-user.target etc/systemd/system/default.target

mkdir -p etc/cloud/cloud.cfg.d
cat > etc/cloud/cloud.cfg.d/90_devbox.cfg <<'CLOUD'
datasource_list: [NoCloud]
network: {config: disabled}
locale: C.UTF-8
ssh_pwauth: false
apt: {preserve_sources_list: true}
package_update: false
package_upgrade: false
system_info:
  default_user:
    name: ubuntu
    gecos: Ubuntu
    lock_passwd: true
    shell: /bin/bash
    groups: [adm, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
CLOUD

mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\n' > etc/systemd/journald.conf.d/devbox.conf

# As Ubuntu has it: Debian gives users no sbin folders.
echo 'PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' > etc/environment

# Empty, not absent: an absent machine-id asks for a first-boot set-up.
: > etc/machine-id
: > etc/fstab
rm -f etc/resolv.conf
: > etc/resolv.conf
rm -f etc/hostname etc/ssh/ssh_host_*
rm -rf var/lib/cloud/seed var/lib/cloud/instance var/lib/cloud/instances
mkdir -p lambda/nfs nix

if [ "$EMULATED" = yes ]; then
    # qemu-user has no seccomp. The box's nix.conf includes this.
    mkdir -p etc/nix
    echo 'filter-syscalls = false' > etc/nix/machine.conf
fi

# Nothing here waits to be brought up to date at the first boot.
touch etc/.updated var/.updated
