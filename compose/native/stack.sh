# shellcheck shell=bash
# The order of things. A service is a file in `services/` with these functions:
#   _ports    a line for each port: variable that moves it, number       _version  for people
#   _install  everything it needs, nothing if it is there                _prepare  data and settings, before it starts
#   _exec     becomes the server                                         _alive    asks it whether it answers
#   _setup    what must be in it (bucket, tables); may run again         _ready    asks it for what must be in it

readonly services=(kafka registry minio postgres alertmanager prometheus)
# Started only when they are named; from then on they are among all.
readonly extras=(connect trino)

# Sets `chosen`: the services named, or all.
choose() {
    local name known=("${services[@]}" "${extras[@]}")
    for name in "$@"; do
        [[ " ${known[*]} " == *" $name "* ]] || die "no service \`$name\`; there are: ${known[*]}"
    done
    chosen=("$@")
    [ $# -eq 0 ] || return 0
    chosen=("${services[@]}")
    for name in "${extras[@]}"; do
        [ ! -f "$root/run/$name.pid" ] || chosen+=("$name")
    done
}

stack_up() {
    local service
    local -a fresh=()
    load_secrets
    need curl curl
    make_certificates
    for service in "${chosen[@]}"; do "${service}_install"; done
    for service in "${chosen[@]}"; do
        if our_pid "$service" >/dev/null; then continue; fi
        await_gone "$service"
        ports_free "$service"
        fresh+=("$service")
    done
    for service in "${chosen[@]}"; do "${service}_prepare"; done
    for service in "${fresh[@]}"; do launch "$service"; done
    for service in "${chosen[@]}"; do await "$service"; done
    stack_status
    say ""
    say "keys for lakepulse:  eval \"\$($native/stack env)\""
}

ports_free() {
    local variable port
    while read -r variable port; do
        ! listening "$port" || die "port $port for $1 is taken by another process: free it or set $variable"
    done < <("${1}_ports")
}

# Waits until a service answers, then until it holds what it must.
await() {
    local service="$1" begun=$SECONDS said=$SECONDS
    until "${service}_alive"; do
        if ! our_pid "$service" >/dev/null; then
            # One that we found running may have been about to end.
            [[ " ${fresh[*]} " != *" $service "* ]] || failed "$service" "has ended"
            await_gone "$service"
            ports_free "$service"
            fresh+=("$service")
            launch "$service"
        fi
        patient "$service" "does not answer yet"
    done
    # A machine that has much to do may let it answer once and not again at once.
    until "${service}_setup" >>"$root/logs/$service.log" 2>&1; do
        our_pid "$service" >/dev/null || failed "$service" "has ended"
        patient "$service" "answers, but could not be filled yet"
    done
    until "${service}_ready"; do
        our_pid "$service" >/dev/null || failed "$service" "has ended"
        patient "$service" "answers, but is not ready yet"
    done
}
# Waits a moment within `await`; says now and then what for, and ends when it takes too long.
patient() {
    local -i waited=$((SECONDS - begun))
    [ "$waited" -lt "$ready_seconds" ] || failed "$1" "$2, after $waited s (LAKEPULSE_STACK_READY_SECONDS)"
    if [ $((SECONDS - said)) -ge "$patience_seconds" ]; then
        said=$SECONDS
        say "$1 $2: $waited s of at most $ready_seconds s, load $(cut -d' ' -f1 /proc/loadavg)"
    fi
    sleep 0.2
}
failed() {
    tail -n 20 "$root/logs/$1.log" >&2
    die "$1 $2: $root/logs/$1.log"
}

stack_down() {
    local -i i
    for ((i = ${#chosen[@]} - 1; i >= 0; i--)); do
        local service="${chosen[i]}" signal=TERM
        # PostgreSQL waits for its clients when told TERM.
        [ "$service" = postgres ] && signal=INT
        if end "$service" "$signal"; then say "$service stopped"; fi
    done
}

stack_reset() {
    local service
    stack_down
    for service in "${chosen[@]}"; do
        rm -rf "${root:?}/data/$service"
        say "$service emptied"
    done
}

# A line a service; fails unless all are ready.
stack_status() {
    local service state pid rss ports all=0
    [ -f "$root/secrets.env" ] && load_secrets
    printf '%-13s %-11s %8s %7s  %-18s %-34s %s\n' service state pid MB ports version log
    for service in "${chosen[@]}"; do
        pid=- rss=-
        ports="$("${service}_ports" | cut -d' ' -f2 | paste -sd, -)"
        if pid="$(our_pid "$service")"; then
            rss="$(awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$pid/status")"
            if "${service}_ready"; then state=ready; else state="not-ready" all=1; fi
        else
            pid=- state=stopped all=1
            if listening "${ports%%,*}"; then state=not-ours; fi
        fi
        printf '%-13s %-11s %8s %7s  %-18s %-34s %s\n' \
            "$service" "$state" "$pid" "$rss" "$ports" "$("${service}_version")" "$root/logs/$service.log"
    done
    return "$all"
}

stack_logs() {
    local -a flags=(-n 50) files=()
    local service
    [ "${1:-}" = -f ] && flags+=(-F) && shift
    choose "$@"
    for service in "${chosen[@]}"; do
        [ -f "$root/logs/$service.log" ] && files+=("$root/logs/$service.log")
    done
    [ ${#files[@]} -gt 0 ] || die "no logs in $root/logs"
    exec tail "${flags[@]}" "${files[@]}"
}

# Runs a script of compose/ that containers run, too.
shared() { "$compose/$1" "${@:2}"; }

# Whether a request succeeds: a URL, further arguments of curl.
answers() { curl --silent --fail --max-time 5 --noproxy "*" --output /dev/null "$@"; }

# What the services are started and asked with, an argument a line: the very functions that do it, in a shell
# where the words that act only print. ../docker-compose.yaml is compared with it.
stack_commands() {
    local service found_java=/java scratch
    # One of them opens its data, which need not be there.
    scratch="$(mktemp -d)"
    mkdir -p "$scratch/data/postgres"
    for service in "${chosen[@]}"; do
        (
            exec() { [ $# -eq 0 ] || printf "$service starts %s\\n" "${@:2}"; }
            cd() { :; }
            postgres_home() { echo /postgresql; }
            answers() { printf "$service asks %s\\n" "$@"; }
            postgres_client() { printf "$service asks %s\\n" "$1" -h 127.0.0.1 -p "$postgres_port" -U postgres "${@:2}"; }
            shared() { printf "$service asks %s\\n" "$@"; }
            root="$scratch" LAKE_ACCESS_KEY='' LAKE_SECRET_KEY='' POSTGRES_PASSWORD=''
            "${service}_exec"
            "${service}_alive"
        )
    done
    rm -r "$scratch"
}
