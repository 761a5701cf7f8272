# shellcheck shell=bash
# MinIO, one folder, with the lake's bucket.

minio_version() { echo "$minio_version"; }
minio_ports() {
    echo "LAKEPULSE_STACK_MINIO_PORT $minio_port"
    echo "LAKEPULSE_STACK_MINIO_CONSOLE_PORT $minio_console_port"
}

minio_install() {
    [ -d "$root/install/minio-$minio_version" ] && return
    find_go
    say "MinIO is built from source: several minutes the first time"
    installed "minio-$minio_version" install_minio
}
install_minio() { go_install "$1" "$minio_version" github.com/minio/minio; }

minio_prepare() { :; }
minio_exec() {
    # Metrics without a token: it listens to this machine only.
    export MINIO_ROOT_USER="$LAKE_ACCESS_KEY" MINIO_ROOT_PASSWORD="$LAKE_SECRET_KEY"
    export MINIO_PROMETHEUS_AUTH_TYPE=public MINIO_UPDATE=off
    local -a certificates=()
    if secured; then certificates=(--certs-dir "$tls/minio"); fi
    exec setsid "$root/install/minio-$minio_version/minio" server "$root/data/minio" "${certificates[@]}" \
        --address "127.0.0.1:$minio_port" --console-address "127.0.0.1:$minio_console_port"
}
# Address, and how it is trusted.
minio_url() { if secured; then echo "https://127.0.0.1:$minio_port"; else echo "http://127.0.0.1:$minio_port"; fi; }
minio_trust() { if secured; then printf -- '--cacert\n%s\n' "$tls/ca.pem"; fi; }
minio_alive() {
    local -a trust
    mapfile -t trust < <(minio_trust)
    answers "${trust[@]}" "$(minio_url)/minio/health/ready"
}

# Runs curl, or what runs it, trusting this server.
minio_trusting() { if secured; then CURL_CA_BUNDLE="$tls/ca.pem" "$@"; else "$@"; fi; }
minio_setup() { minio_trusting shared minio/bucket "$(minio_url)/$bucket"; }
minio_ready() { minio_alive && minio_trusting shared minio/bucket -n "$(minio_url)/$bucket"; }
