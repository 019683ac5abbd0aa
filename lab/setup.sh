#!/usr/bin/env bash
# Installs what the demo and the tests need, and says one line for each step; run or sourced, as root:
#
#   lab/setup.sh
#
# Debian packages come from apt and Python packages go into .venv of this checkout. Nothing that is installed is
# started or enabled on this machine; services that ran before go on running. It costs some 0.1 s when all is there.

corral_setup() (
    set -Eeuo pipefail
    export LC_ALL=C.UTF-8 # one order of sorting, and English sentences in the log
    here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
    log=$here/.lab/setup.log
    policy=/usr/sbin/policy-rc.d
    system_python=/usr/bin/python3
    packages=(
        openvswitch-switch openvswitch-testcontroller
        libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-daemon-driver-lxc libvirt-clients
        qemu-system-x86 qemu-utils oz genisoimage
        dnsmasq-base ifupdown iproute2 iputils-ping network-manager nftables
        syslinux mtools busybox-static dropbear-bin openssh-client zstd
        ca-certificates gcc git kmod libvirt-dev pkg-config procps python3-dev python3-venv util-linux
    )

    say() { echo "setup: $*"; }
    fail() { echo "setup: $*" >&2; exit 1; }
    trap 'fail "exit status $? of $BASH_COMMAND (line $LINENO of lab/setup.sh)"' ERR
    trap 'exit 129' HUP # these wait for what runs at the time, and let the EXIT trap find a finished dpkg
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # quietly SENTENCE COMMAND…: its output goes to the log; a failure shows the end of it.
    quietly() {
        local sentence=$1 start=$SECONDS
        shift
        say "$sentence"
        : >"$log.step"
        if ! "$@" >"$log.step" 2>&1; then
            cat "$log.step" >>"$log"
            tail -n 25 "$log.step" >&2
            if grep -qE 'Temporary failure (resolving|in name)|Could not (resolve|connect)|Failed to establish a new|Network is unreachable|No route to host|from versions: none' "$log.step"; then
                fail "this step needs the network, and the package archive could not be reached: $sentence"
            fi
            fail "failed: $sentence (all of it is in $log)"
        fi
        cat "$log.step" >>"$log"
        say "  done in $((SECONDS - start)) s"
    }
    missing() {
        # It fails when it has never heard of one of them.
        comm -13 <({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } |
            sed -n 's/^installed //p' | sort -u) <(printf '%s\n' "${packages[@]}" | sort)
    }
    stamp() {
        { cat "$here/lab/requirements.txt" "${BASH_SOURCE[0]}"; "$system_python" -IS -V; echo "$here"; } | sha256sum
    }
    venv_is_ready() { [ -x "$here/.venv/bin/python" ] && [ "$(stamp)" = "$(cat "$here/.venv/corral.stamp" 2>/dev/null)" ]; }

    enabled_units() {
        [ -d /run/systemd/system ] || return 0
        # Read from the files (--root), so that nothing but "none is enabled" makes it fail.
        { systemctl --root=/ list-unit-files --state=enabled --no-legend || true; } | awk '{print $1}' | sort
    }
    # dpkg's scripts ask this program before they start or stop a service (invoke-rc.d(8)). It also keeps what was
    # enabled before, so that the next setup, of whatever checkout, can finish what a killed one left.
    forbid_services() {
        [ ! -e "$policy" ] || cp -a "$policy" "$policy.before-corral"
        {
            printf '#!/bin/sh\nexit 101 # written by %s: start nothing\n' "$here/lab/setup.sh"
            enabled_units | sed 's/^/# enabled before: /'
        } >"$policy.corral"
        chmod 755 "$policy.corral"
        mv "$policy.corral" "$policy"
    }
    services_forbidden() { grep -qs 'written by .*lab/setup.sh: start nothing' "$policy"; }
    # What the packages, or those that they need, enabled would start with the machine; the rest stays as it was.
    allow_services() {
        local newly
        services_forbidden || return 0
        newly=$(comm -13 <(sed -n 's/^# enabled before: //p' "$policy") <(enabled_units))
        # shellcheck disable=SC2086 # a list of unit names
        [ -z "$newly" ] || quietly "leaving the new services off on this machine" systemctl disable $newly
        rm "$policy"
        [ ! -e "$policy.before-corral" ] || mv "$policy.before-corral" "$policy"
    }
    # After a dpkg that was killed apt wants this done by hand; it says so while it holds dpkg's lock.
    apt_install() {
        local install=(apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold
            -o DPkg::Lock::Timeout=300 install "$@")
        "${install[@]}" ||
            { grep -q 'dpkg --configure -a' "$log.step" && dpkg --force-confold --configure -a && "${install[@]}"; }
    }
    install_packages() {
        local wanted
        mapfile -t wanted < <(missing)
        [ ${#wanted[@]} -gt 0 ] || return 0
        export DEBIAN_FRONTEND=noninteractive
        quietly "bringing the package lists up to date" apt-get -q update
        trap allow_services EXIT
        forbid_services
        quietly "installing ${#wanted[@]} Debian packages: ${wanted[*]}" apt_install "${wanted[@]}"
        allow_services
        trap - EXIT
    }
    make_venv() {
        local libvirt pip=("$here/.venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --no-compile)
        if [ "$("$here/.venv/bin/python" -IS -V 2>&1)" != "$("$system_python" -IS -V)" ]; then
            quietly "making the virtual environment $here/.venv" "$system_python" -m venv --clear "$here/.venv"
        fi
        libvirt=$(pkg-config --modversion libvirt)
        quietly "installing what builds Python packages" "${pip[@]}" setuptools wheel
        quietly "installing Salt and the tools of the tests (some minutes the first time)" \
            "${pip[@]}" --prefer-binary -r "$here/lab/requirements.txt" "libvirt-python==$libvirt"
        stamp >"$here/.venv/corral.stamp.new"
        mv "$here/.venv/corral.stamp.new" "$here/.venv/corral.stamp"
    }

    [ "$(id -u)" = 0 ] || fail "this needs root: it installs packages and makes namespaces; try sudo $0"
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
        fail "this machine has no apt: only Debian (12) and Ubuntu (24.04) are known here"
    if [ -z "$(missing)" ] && venv_is_ready && ! services_forbidden; then
        return 0
    fi
    mkdir -p "$here/.lab"
    exec 9>/run/corral-setup.lock
    flock -n 9 || { say "waiting for another setup on this machine"; flock 9; }
    : >"$log"
    allow_services # a setup that was killed may have left them forbidden
    install_packages
    venv_is_ready || make_venv
)
corral_setup
