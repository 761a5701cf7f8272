# shellcheck shell=bash
# What is ours, and its end. A pid alone proves nothing, it may be somebody else's by now: `run/*.pid` also
# holds when the process started and in which boot, and only a process that agrees is ever signalled.

# Start of a process in clock ticks since boot; the name before it may hold spaces and brackets.
started_at() {
    local stat
    { stat="$(<"/proc/$1/stat")"; } 2>/dev/null || return 1
    stat="${stat##*) }"
    # A zombie has ended: whoever started it has only not asked yet.
    [ "${stat%% *}" != Z ] || return 1
    cut -d' ' -f20 <<<"$stat"
}
boot() { cat /proc/sys/kernel/random/boot_id; }

# Pid of a service if the process is alive and the one that we started.
our_pid() {
    local pid start in_boot now
    [ -f "$root/run/$1.pid" ] || return 1
    read -r pid start in_boot <"$root/run/$1.pid" || return 1
    [ "$in_boot" = "$(boot)" ] && now="$(started_at "$pid")" && [ "$now" = "$start" ] || return 1
    echo "$pid"
}

# Waits until nothing is left of a process of ours that has ended: its other threads may hold ports a moment
# longer. PostgreSQL does not start either while the pid in its lock file is in the process table, and some inits
# take seconds to reap.
await_gone() {
    local pid tries threads
    [ -f "$root/run/$1.pid" ] && read -r pid _ <"$root/run/$1.pid" || return 0
    for ((tries = 0; tries < 150; tries++)); do
        [[ "$(cat "/proc/$pid/stat" 2>/dev/null)" == *") Z "* ]] || return 0
        threads=("/proc/$pid/task"/*)
        [ "$1" = postgres ] || [ ${#threads[@]} -gt 1 ] || return 0
        sleep 0.1
    done
}

# Starts a service: its `_exec` becomes the process.
launch() {
    local service="$1" log="$root/logs/$1.log" pid
    # One generation back is kept.
    [ ! -s "$log" ] || mv "$log" "$log.1"
    (
        # A server that held our lock would keep everybody out.
        exec {lock}>&-
        mkdir -p "$root/data/$service"
        cd "$root/data/$service"
        "${service}_exec"
    ) >"$log" 2>&1 </dev/null &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(started_at "$pid")" "$(boot)" >"$root/run/$service.pid"
}

# Ends a service that is ours: asked first, after half a minute without asking.
end() {
    local service="$1" pid tries
    pid="$(our_pid "$service")" || {
        rm -f "$root/run/$service.pid"
        return 1
    }
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 300; tries++)); do
        our_pid "$service" >/dev/null || break
        sleep 0.1
    done
    if our_pid "$service" >/dev/null; then
        say "$service does not stop: killed"
        kill -s KILL "$pid" 2>/dev/null || true
        while our_pid "$service" >/dev/null; do sleep 0.1; done
    fi
    await_gone "$service"
    rm -f "$root/run/$service.pid"
}

# Whether anybody listens there.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# One `stack` at a time.
take_lock() {
    make_folder
    exec {lock}>"$root/run/lock"
    flock -n "$lock" || die "another \`stack\` works on $root"
}
