#!/bin/sh
# Installs what is missing: Debian packages (as root), the virtual environment .venv, the test
# guest. Quick and quiet when all is there. It starts and enables no service of the machine.
set -eu
cd "$(dirname "$0")/.."

PACKAGES="libvirt-daemon-system libvirt-clients libvirt-dev qemu-system-x86 qemu-utils
    dnsmasq-base iproute2 iptables openssh-server openssh-client postgresql libpq-dev
    isolinux syslinux-common xorriso busybox-static cpio btrfs-progs
    python3 python3-venv python3-dev gcc pkg-config git ca-certificates"
GUEST_KERNEL=linux-image-cloud-amd64
POLICY=/usr/sbin/policy-rc.d # what maintainer scripts ask before they start a service
LOG=.cache/setup.log

say() { echo "setup: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# Run a command quietly; if it fails, show the end of what it said.
quietly() {
    "$@" >"$LOG" 2>&1 && return
    tail -n 20 "$LOG" >&2
    die "failed: $*"
}

missing_packages() {
    for package in $PACKAGES; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
        *' installed') ;;
        *) echo "$package" ;;
        esac
    done
}

installed_packages() {
    dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p' | sort
}

forbid_services() {
    [ ! -e "$POLICY" ] || mv "$POLICY" "$POLICY.before-setup"
    trap allow_services EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

allow_services() {
    rm -f "$POLICY"
    [ ! -e "$POLICY.before-setup" ] || mv "$POLICY.before-setup" "$POLICY"
    trap - EXIT INT TERM HUP
}

# Installing enables units for the next boot: take that back for the packages that are new.
disable_units_of() {
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        for unit in $(dpkg -L "$package" | sed -n 's,^\(/usr\)\?/lib/systemd/system/,,p'); do
            case $unit in
            */* | *@.*) ;;
            *.service | *.socket | *.timer | *.target) systemctl --quiet disable "$unit" 2>/dev/null || true ;;
            esac
        done
    done
}

install_packages() {
    [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install" "$@"
    say "installing $*"
    before=$(mktemp)
    installed_packages >"$before"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get -q update
    forbid_services
    quietly apt-get -q -y --no-install-recommends install "$@"
    # shellcheck disable=SC2046 # package names have no spaces
    disable_units_of $(installed_packages | comm -13 "$before" -)
    allow_services
    rm -f "$before"
}

make_venv() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "python3 is $(python3 --version), but 3.10 or later is needed"
    wanted=$(cat requirements.txt requirements-dev.txt setup.py && python3 --version)
    [ "$(cat .venv/installed-for 2>/dev/null)" != "$wanted" ] || return 0
    say "making .venv"
    quietly python3 -m venv .venv
    quietly .venv/bin/python -m pip install --disable-pip-version-check \
        -r requirements-dev.txt -e .
    echo "$wanted" >.venv/installed-for
}

make_guest() {
    if [ -z "$(find .cache -name 'guest-*.iso')" ] && ! apt-cache show "$GUEST_KERNEL" >"$LOG" 2>&1
    then
        [ "$(id -u)" = 0 ] || die "apt does not know $GUEST_KERNEL; as root: apt-get update"
        quietly apt-get -q update
    fi
    quietly .venv/bin/python -m tests.bed.guest_image
}

mkdir -p .cache
exec 9>.cache/setup.lock
flock 9
missing=$(missing_packages)
# shellcheck disable=SC2086 # package names have no spaces
[ -z "$missing" ] || install_packages $missing
make_venv
make_guest
