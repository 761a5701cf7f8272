# shellcheck shell=bash
# Trino, one node, over the lake. Started only when it is named: the download is large.

trino_version() { echo "$trino_release"; }
trino_ports() { echo "LAKEPULSE_STACK_TRINO_PORT $trino_port"; }
trino_home() { echo "$root/install/trino-$trino_release"; }
trino_settings="$root/etc/trino.properties"

trino_install() {
    find_java "$trino_java_least"
    # Ours, for machines that have none, lacks a module.
    "$found_java/bin/java" --list-modules | grep -q '^jdk.incubator.vector@' \
        || die "Trino needs a whole JDK of $trino_java_least or newer: name one by JAVA_HOME"
    [ -d "$(trino_home)" ] || need mvn maven
    installed "trino-$trino_release" install_trino
}
# Plugins share their jars by hard links, so all of them are unpacked and the others deleted.
install_trino() {
    local archive="trino-server-$trino_release.tar.gz"
    maven_file "$1" "$archive" "$trino_sha256" "io.trino:trino-server:$trino_release:tar.gz" \
        && tar -xzf "$archive" --strip-components=1 && rm "$archive" \
        && find plugin -mindepth 1 -maxdepth 1 ! -name delta-lake -exec rm -r {} +
}

trino_prepare() {
    cat >"$trino_settings" <<TEXT
coordinator=true
node-scheduler.include-coordinator=true
node.environment=lakepulse
node.id=lakepulse-1
node.internal-address=127.0.0.1
node.bind-ip=127.0.0.1
http-server.http.port=$trino_port
discovery.uri=http://127.0.0.1:$trino_port
plugin.dir=$(trino_home)/plugin
catalog.config-dir=$compose/trino/catalog
access-control.config-files=$compose/trino/access-control.properties
TEXT
}

trino_exec() {
    local -a flags
    mapfile -t flags <"$compose/trino/jvm.config"
    LAKE_ENDPOINT="$(minio_url)"
    export LAKE_ENDPOINT TRINO_RULES="$compose/trino/rules.json" TRINO_DATA="$root/data/trino"
    exec setsid "$found_java/bin/java" "${flags[@]}" -cp "$(trino_home)/lib/*" \
        -Dconfig="$trino_settings" io.trino.server.TrinoServer
}
trino_alive() { shared trino/alive "$trino_port"; }
trino_setup() { :; }
trino_ready() { trino_alive; }
