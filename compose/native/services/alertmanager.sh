# shellcheck shell=bash
# Alertmanager, alone: no cluster. Built from source: Debian's reads its templates below /usr/share, so it
# cannot be unpacked elsewhere, and its package starts a daemon.

alertmanager_home() { echo "$root/install/alertmanager-$alertmanager_version"; }
alertmanager_version() { echo "$alertmanager_version"; }
alertmanager_ports() { echo "LAKEPULSE_STACK_ALERTMANAGER_PORT $alertmanager_port"; }

alertmanager_install() {
    [ -d "$(alertmanager_home)" ] && return
    find_go
    installed "alertmanager-$alertmanager_version" install_alertmanager
}
install_alertmanager() {
    go_install "$1" "$alertmanager_version" github.com/prometheus/alertmanager/cmd/{alertmanager,amtool}
}

alertmanager_prepare() { :; }
alertmanager_exec() {
    exec setsid "$(alertmanager_home)/alertmanager" --config.file="$compose/alertmanager/alertmanager.yml" \
        --storage.path="$root/data/alertmanager" --web.listen-address="127.0.0.1:$alertmanager_port" \
        --cluster.listen-address=
}
alertmanager_alive() { answers "http://127.0.0.1:$alertmanager_port/-/ready"; }
# Rereads its settings: they may be newer than the process.
alertmanager_setup() { answers "http://127.0.0.1:$alertmanager_port/-/reload" --request POST; }
alertmanager_ready() { alertmanager_alive; }
