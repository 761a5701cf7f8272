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
# Address, and how it is trusted; what follows are further arguments of curl.
minio_url() { if secured; then echo "https://127.0.0.1:$minio_port"; else echo "http://127.0.0.1:$minio_port"; fi; }
minio_trust() { if secured; then printf -- '--cacert\n%s\n' "$tls/ca.pem"; fi; }
minio_alive() {
    local -a trust
    mapfile -t trust < <(minio_trust)
    answers "${trust[@]}" "$(minio_url)/minio/health/ready"
}

# A signed request for the bucket; prints the status. Keys go by standard input: arguments are public.
minio_bucket() {
    local keys="$LAKE_ACCESS_KEY:$LAKE_SECRET_KEY"
    local -a trust
    mapfile -t trust < <(minio_trust)
    keys="${keys//\\/\\\\}"
    printf 'user = "%s"\n' "${keys//\"/\\\"}" \
        | curl --silent --config - --max-time 10 --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
            "${trust[@]}" --output /dev/null --write-out '%{http_code}' "$@" "$(minio_url)/$bucket"
}
minio_setup() { [ "$(minio_bucket --head)" = 200 ] || [ "$(minio_bucket --request PUT)" = 200 ]; }
minio_ready() { minio_alive && [ "$(minio_bucket --head)" = 200 ]; }
