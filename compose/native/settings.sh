# shellcheck shell=bash disable=SC2034
# Folder, ports and secrets: everything a user may move, each by an environment variable.

root="${LAKEPULSE_STACK_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lakepulse/stack}"
case "$root" in /*) ;; *) root="$PWD/$root" ;; esac
# Programs may be those of another stack.
programs="${LAKEPULSE_STACK_PROGRAMS:-$root/install}"

# Defaults agree with target `compose` in lakepulse.yaml.
kafka_port="${LAKEPULSE_STACK_KAFKA_PORT:-9092}"
# Where clients are sent: another port when something stands between.
kafka_advertised_port="${LAKEPULSE_STACK_KAFKA_ADVERTISED_PORT:-$kafka_port}"
kafka_controller_port="${LAKEPULSE_STACK_KAFKA_CONTROLLER_PORT:-9093}"
kafka_sasl_port="${LAKEPULSE_STACK_KAFKA_SASL_PORT:-9095}"
kafka_tls_port="${LAKEPULSE_STACK_KAFKA_TLS_PORT:-9096}"
kafka_metrics_port="${LAKEPULSE_STACK_KAFKA_METRICS_PORT:-9404}"
registry_port="${LAKEPULSE_STACK_REGISTRY_PORT:-8081}"
registry_management_port="${LAKEPULSE_STACK_REGISTRY_MANAGEMENT_PORT:-8082}"
minio_port="${LAKEPULSE_STACK_MINIO_PORT:-9000}"
minio_console_port="${LAKEPULSE_STACK_MINIO_CONSOLE_PORT:-9001}"
postgres_port="${LAKEPULSE_STACK_POSTGRES_PORT:-5432}"
prometheus_port="${LAKEPULSE_STACK_PROMETHEUS_PORT:-9090}"
alertmanager_port="${LAKEPULSE_STACK_ALERTMANAGER_PORT:-9094}"
connect_port="${LAKEPULSE_STACK_CONNECT_PORT:-8083}"
trino_port="${LAKEPULSE_STACK_TRINO_PORT:-8080}"

# Where `lakepulse` serves its metrics (`--listen`), separated by spaces.
scrape="${LAKEPULSE_STACK_SCRAPE:-127.0.0.1:9464}"
# `yes`: Kafka also with TLS and passwords, MinIO with TLS only.
secure="${LAKEPULSE_STACK_SECURE:-no}"
# How long a service may take until it is ready. Servers on a JVM take minutes where others keep the machine busy,
# and one that has ended is not waited for: so this only bounds the wait for one that hangs.
ready_seconds="${LAKEPULSE_STACK_READY_SECONDS:-900}"
# Between two words about one that is waited for.
patience_seconds=15

bucket="lake"
database="wide_world_importers"

# Marks the folder as ours: nothing is emptied where it is missing.
readonly marker=".lakepulse-stack"
readonly secret_names=(
    LAKE_ACCESS_KEY LAKE_SECRET_KEY KAFKA_PASSWORD POSTGRES_PASSWORD RETAILER_PASSWORD LAKEPULSE_POSTGRES_PASSWORD
)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "stack: $*"
    exit 1
}

make_folder() {
    [ -f "$root/$marker" ] && return
    [ -z "$(ls -A "$root" 2>/dev/null)" ] || die "$root is not empty and not ours: set LAKEPULSE_STACK_DIR"
    mkdir -p "$root"/{data,etc,run,logs} "$programs"
    [ "$programs" = "$root/install" ] || ln -s "$programs" "$root/install"
    touch "$root/$marker"
}

# Random text without characters that any shell, URL or file would read differently.
random_text() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Secrets: the environment wins, then the folder's file, then a new one, kept for the next time.
load_secrets() {
    local file="$root/secrets.env" name line complete=yes
    local -A kept=()
    if [ -f "$file" ]; then
        while read -r line; do kept[${line%%=*}]="${line#*=}"; done <"$file"
    fi
    for name in "${secret_names[@]}"; do
        [ -n "${kept[$name]:-}" ] || complete=no
        : "${kept[$name]:=${!name:-$(random_text 16)}}"
        export "$name=${!name:-${kept[$name]}}"
    done
    [ "$complete" = yes ] && return
    (
        umask 077
        for name in "${secret_names[@]}"; do printf '%s=%s\n' "$name" "${kept[$name]}"; done >"$file.new"
        mv "$file.new" "$file"
    )
}

stack_env() {
    [ -f "$root/secrets.env" ] || die "no secrets yet: run \`stack up\` first"
    load_secrets
    local name
    for name in "${secret_names[@]}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
    # What target `compose` of lakepulse.yaml refers to.
    printf 'export LAKEPULSE_KAFKA=%q\n' "127.0.0.1:$kafka_port"
    printf 'export LAKEPULSE_REGISTRY=%q\n' "http://127.0.0.1:$registry_port/apis/ccompat/v7"
    printf 'export LAKEPULSE_S3=%q\n' "$(minio_url)"
}
