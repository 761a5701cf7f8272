# shellcheck shell=bash
# Prometheus with our settings and rules, and files that say where the services are on this machine.

prometheus_program() { command -v "$1" || echo "$root/install/prometheus/usr/bin/$1"; }
prometheus_version() { "$(prometheus_program prometheus)" --version 2>&1 | sed -n 's/^prometheus, version \([^ ]*\).*/\1/p'; }
prometheus_ports() { echo "LAKEPULSE_STACK_PROMETHEUS_PORT $prometheus_port"; }
prometheus_etc="$root/etc/prometheus"

prometheus_install() {
    [ -x "$(prometheus_program prometheus)" ] || installed prometheus unpack_package prometheus
}

prometheus_prepare() {
    mkdir -p "$prometheus_etc/targets"
    rm -rf "$prometheus_etc/rules"
    cp -r "$compose/prometheus/prometheus.yml" "$compose/prometheus/rules" "$prometheus_etc/"
    # shellcheck disable=SC2086
    prometheus_targets lakepulse $scrape
    prometheus_targets kafka "127.0.0.1:$kafka_metrics_port"
    prometheus_targets minio "127.0.0.1:$minio_port"
    prometheus_targets registry "127.0.0.1:$registry_management_port"
    prometheus_targets alertmanager "127.0.0.1:$alertmanager_port"
    prometheus_targets prometheus "127.0.0.1:$prometheus_port"
    "$(prometheus_program promtool)" check config "$prometheus_etc/prometheus.yml" >>"$root/logs/install.log" 2>&1 \
        || die "Prometheus' settings are not valid: see $root/logs/install.log"
}
prometheus_targets() {
    local job="$1" address list=""
    shift
    for address in "$@"; do list+="${list:+, }\"$address\""; done
    printf -- '- targets: [%s]\n' "$list" >"$prometheus_etc/targets/$job.yml"
}

prometheus_exec() {
    exec setsid "$(prometheus_program prometheus)" --config.file="$prometheus_etc/prometheus.yml" \
        --storage.tsdb.path="$root/data/prometheus" --web.listen-address="127.0.0.1:$prometheus_port" \
        --web.enable-lifecycle
}
prometheus_alive() { answers "http://127.0.0.1:$prometheus_port/-/ready"; }
# Rereads its settings: they may be newer than the process.
prometheus_setup() { answers "http://127.0.0.1:$prometheus_port/-/reload" --request POST; }
prometheus_ready() {
    prometheus_alive && curl --silent --fail --max-time 5 --noproxy '*' \
        "http://127.0.0.1:$prometheus_port/api/v1/rules" | grep -q LakePulseHalted
}

# `stack promtool test rules FILE`: paths are the caller's.
prometheus_promtool() {
    make_folder
    prometheus_install
    "$(prometheus_program promtool)" "$@"
}
