#!/bin/bash
# The servers `make test` starts for itself: Debian's RabbitMQ and PostgreSQL. Silent and instant when both are here,
# installs what is missing where apt may be used, and says in one line what to install where it may not.
# Their services are never started: the tests run private nodes of their own (tests/servers). And curl, with which the
# README's examples are run, and strace, which shows what is synced before what is answered, and makes a disk full.
set -euo pipefail

POLICY=/usr/sbin/policy-rc.d
ASIDE=$POLICY.trunkline-aside
LOCKED=/var/lib/dpkg # a directory only root may replace; this flock is not the lock dpkg itself takes

missing() {
    [[ -x /usr/sbin/rabbitmq-server && -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || echo rabbitmq-server
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    command -v curl >/dev/null || echo curl
    command -v strace >/dev/null || echo strace
}

# Denies every start for as long as this script, or an apt that outlives it, holds the lock. Whoever asks after that (we
# were killed with -9) finds a stray that removes itself, puts back what stood here, and asks that instead.
deny_starts() {
    if [[ ! -e $POLICY ]] || grep -qs deploy/test-servers.sh "$POLICY"; then
        allow_starts # what a killed run may have left
    fi
    if denies rabbitmq-server && denies postgresql; then
        return # the machine's own policy (a container's, say) starts nothing either
    fi
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap allow_starts EXIT
    [[ ! -e $POLICY ]] || cp -p "$POLICY" "$ASIDE"
    cat >"$POLICY.trunkline" <<END
#!/bin/sh
# Trunkline's deploy/test-servers.sh, while it installs packages whose services must not start.
flock --nonblock $LOCKED true || exit 101
rm -f $POLICY
[ ! -e $ASIDE ] || { mv $ASIDE $POLICY && exec $POLICY "\$@"; }
exit 0
END
    chmod 755 "$POLICY.trunkline"
    mv "$POLICY.trunkline" "$POLICY"
}

denies() {
    local answer=0
    [[ -x $POLICY ]] || return 1
    "$POLICY" "$1" start >/dev/null 2>&1 || answer=$?
    ((answer == 101))
}

allow_starts() {
    if [[ -e $ASIDE ]]; then mv "$ASIDE" "$POLICY"; else rm -f "$POLICY"; fi
    rm -f "$POLICY.trunkline"
}

# Runs as root. One installer at a time on a machine: the second waits, and then finds nothing missing.
install_missing() {
    local packages log
    exec 9<"$LOCKED"
    flock 9
    mapfile -t packages < <(missing)
    ((${#packages[@]})) || return 0
    deny_starts
    log=$(mktemp)
    if ! { apt_get update && apt_get install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
        echo "test-servers: apt-get could not install ${packages[*]} (all of it: $log):" >&2
        tail -n 15 "$log" >&2
        return 1
    fi
    rm -f "$log"
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

if [[ ${1-} == --as-root ]]; then
    install_missing
    exit
fi

mapfile -t packages < <(missing)
((${#packages[@]})) || exit 0

if command -v apt-get >/dev/null && ((EUID == 0)); then
    as_root=()
elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "test-servers: the tests need ${packages[*]}; install with: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
fi
echo "test-servers: installing ${packages[*]} (the services stay off)"
"${as_root[@]}" /bin/bash "$0" --as-root
