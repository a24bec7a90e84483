#!/bin/sh
# A Debian 12 machine of its own, kernel and systemd included, to follow docs/storage-node.rst on:
# QEMU, no KVM needed. As root; touches nothing of this machine outside of DIR.
#
#   storage_node_vm.sh build DIR                install Debian into DIR (700 MB, two minutes)
#   storage_node_vm.sh start DIR [ARGUMENT...]  boot, and return when it can be logged in to;
#                                               arguments are for QEMU
#   storage_node_vm.sh ssh DIR [COMMAND...]     log in as root
#   storage_node_vm.sh stop DIR                 shut down
#
# It is called "storage", reaches the network as this machine does, and has an empty disk /dev/vdb.
set -eu

PACKAGES="linux-image-cloud-amd64,initramfs-tools,systemd-sysv,systemd-timesyncd,dbus,udev,kmod,\
procps,iproute2,ifupdown,isc-dhcp-client,openssh-server,ca-certificates,rsync,lvm2,xfsprogs,quota"
TOOLS="debootstrap mke2fs qemu-img qemu-system-x86_64 ssh"
ROOT_SIZE=6G  # both disks grow as they are written
DATA_SIZE=8G
MEMORY=1024 # MiB
PORT=${STORAGE_NODE_VM_PORT:-2202} # on 127.0.0.1
BOOT_SECONDS=180

say() { echo "storage_node_vm: $*" >&2; }

die() {
    say "$*"
    exit 1
}

build() {
    for tool in $TOOLS; do
        command -v "$tool" >/dev/null || die "$tool is missing (apt-get install debootstrap" \
            "e2fsprogs qemu-utils qemu-system-x86 openssh-client)"
    done
    [ ! -e "$DIR/root.img" ] || die "$DIR/root.img is there already"
    mkdir -p "$DIR"
    ssh-keygen -q -t ed25519 -N '' -f "$DIR/key"
    say "installing Debian; what it says is in $DIR/debootstrap.log"
    debootstrap --variant=minbase --include="$PACKAGES" bookworm "$DIR/root" \
        >"$DIR/debootstrap.log" 2>&1 || die "debootstrap failed"
    configure "$DIR/root"
    cp "$DIR"/root/boot/vmlinuz-* "$DIR/vmlinuz"
    cp "$DIR"/root/boot/initrd.img-* "$DIR/initrd"
    truncate -s "$ROOT_SIZE" "$DIR/root.img"
    truncate -s "$DATA_SIZE" "$DIR/data.img"
    mke2fs -q -t ext4 -d "$DIR/root" "$DIR/root.img"
    rm -r "$DIR/root"
}

configure() {
    echo storage >"$1/etc/hostname"
    echo '127.0.0.1 localhost storage' >"$1/etc/hosts"
    echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$1/etc/fstab"
    printf 'auto %s\niface %s inet dhcp\n' lo lo eth0 eth0 | sed '/^iface lo/s/dhcp/loopback/' \
        >"$1/etc/network/interfaces"
    install -d -m 700 "$1/root/.ssh"
    install -m 600 "$DIR/key.pub" "$1/root/.ssh/authorized_keys"
    # it boots with the one that lies in DIR: to make another takes minutes without KVM
    echo 'update_initramfs=no' >"$1/etc/initramfs-tools/update-initramfs.conf"
    # what this machine trusts, and where pip gets packages from
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
    if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$1/etc/"; fi
}

start() {
    ! alive || die "it runs already"
    qemu-system-x86_64 -name storage -machine q35 -cpu max -smp 1 -m "$MEMORY" -nodefaults \
        -display none -daemonize -pidfile "$DIR/pid" -serial "file:$DIR/console" \
        -kernel "$DIR/vmlinuz" -initrd "$DIR/initrd" -append 'root=/dev/vda console=ttyS0 net.ifnames=0' \
        -drive "file=$DIR/root.img,format=raw,if=virtio,cache=unsafe" \
        -drive "file=$DIR/data.img,format=raw,if=virtio,cache=unsafe,discard=unmap" \
        -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$PORT-:22" \
        -object rng-random,id=rng -device virtio-rng-pci,rng=rng "$@"
    deadline=$(($(date +%s) + BOOT_SECONDS))
    until login true 2>/dev/null; do
        alive || die "QEMU has ended; the end of $DIR/console tells why"
        [ "$(date +%s)" -lt "$deadline" ] || die "no login after $BOOT_SECONDS s: see $DIR/console"
        sleep 2
    done
}

alive() { [ -e "$DIR/pid" ] && kill -0 "$(cat "$DIR/pid")" 2>/dev/null; }

login() {
    ssh -i "$DIR/key" -p "$PORT" -o UserKnownHostsFile="$DIR/known_hosts" -o LogLevel=ERROR \
        -o StrictHostKeyChecking=accept-new -o ConnectTimeout=10 root@127.0.0.1 "$@"
}

stop() {
    alive || return 0
    login systemctl poweroff || true
    while alive; do sleep 1; done
}

[ $# -ge 2 ] || die "usage: storage_node_vm.sh build|start|ssh|stop DIR ..."
command=$1
DIR=$(realpath -m "$2")
shift 2
case $command in
build | start | stop) "$command" "$@" ;;
ssh) login "$@" ;;
*) die "unknown command: $command" ;;
esac
