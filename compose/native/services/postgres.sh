# shellcheck shell=bash
# PostgreSQL with logical replication and the retailer's database. It refuses to run as root: then it runs as
# user `postgres`, who may not be able to walk down to a folder of root's. So it gets its data as an open
# descriptor, and no path.

postgres_version() { basename "$(postgres_home)"; }
postgres_ports() { echo "LAKEPULSE_STACK_POSTGRES_PORT $postgres_port"; }

# The newest that the machine has, or the one unpacked here.
postgres_home() {
    printf '%s\n' /usr/lib/postgresql/* "$root"/install/postgresql/usr/lib/postgresql/* \
        | while read -r home; do [ ! -x "$home/bin/initdb" ] || echo "$home"; done | sort -V | tail -n 1
}

postgres_install() {
    [ -n "$(postgres_home)" ] && return
    # The package would make and start a cluster of its own, on our port.
    if [ ! -e /etc/postgresql-common ]; then
        apt_install postgresql-common
        as_root mkdir -p /etc/postgresql-common/createcluster.d
        as_root tee /etc/postgresql-common/createcluster.d/lakepulse.conf <<<'create_main_cluster = false' >/dev/null
    fi
    apt_install postgresql
}

postgres_prepare() {
    local data="$root/data/postgres"
    [ ! -f "$data/PG_VERSION" ] || return 0
    rm -rf "$data"
    mkdir -m 700 "$data"
    [ "$(id -u)" != 0 ] || chown postgres: "$data"
    # The password comes by a pipe that its reader has made: a pipe of root's it could not open.
    # shellcheck disable=SC2016
    postgres_run bash -c '"$1/bin/initdb" -D "$2" -U postgres -E UTF8 --locale=C.UTF-8 --auth=scram-sha-256 \
        --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' - "$(postgres_home)" "$(postgres_data)" \
        >>"$root/logs/install.log" 2>&1 || {
        rm -rf "$data"
        die "cannot make PostgreSQL's data: see $root/logs/install.log"
    }
}

postgres_data() { if [ "$(id -u)" = 0 ]; then echo /proc/self/fd/8; else echo "$root/data/postgres"; fi; }
# Runs a command as who may run PostgreSQL, with the data open.
postgres_run() (
    local as=()
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
    exec 8<"$root/data/postgres"
    cd /
    exec "${as[@]}" "$@"
)

postgres_exec() {
    local as=()
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
    exec 8<"$root/data/postgres"
    cd /
    exec setsid "${as[@]}" "$(postgres_home)/bin/postgres" -D "$(postgres_data)" \
        -c listen_addresses=127.0.0.1 -c port="$postgres_port" -c unix_socket_directories= \
        -c wal_level=logical -c max_wal_senders=10 -c max_replication_slots=10 -c timezone=UTC
}

postgres_client() {
    local program="$1"
    shift
    PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=5 \
        "$(postgres_home)/bin/$program" -h 127.0.0.1 -p "$postgres_port" -U postgres "$@"
}
postgres_sql() { postgres_client psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
postgres_psql() {
    load_secrets
    postgres_client psql -d "$database" "$@"
}

postgres_alive() { postgres_client pg_isready -q; }
postgres_setup() {
    [ -n "$(postgres_sql -d postgres -c "SELECT 1 FROM pg_database WHERE datname = '$database'")" ] \
        || postgres_sql -d postgres -c "CREATE DATABASE $database" || return 1
    [ "$(postgres_tables)" -gt 0 ] \
        || postgres_sql -d "$database" -1 -f "$compose/postgres/1-roles.sql" -f "$compose/postgres/2-tables.sql"
}
postgres_tables() { postgres_sql -d "$database" -c "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'lakepulse'"; }
postgres_ready() { [ "$(postgres_tables 2>/dev/null || echo 0)" -gt 0 ]; }
