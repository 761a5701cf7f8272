# shellcheck shell=bash
# Apicurio Registry. It speaks the Confluent API below /apis/ccompat/v7.

registry_version() { echo "Apicurio $registry_version"; }
registry_ports() {
    echo "LAKEPULSE_STACK_REGISTRY_PORT $registry_port"
    # Its own default for this one is 9000, which is MinIO's.
    echo "LAKEPULSE_STACK_REGISTRY_MANAGEMENT_PORT $registry_management_port"
}
registry_home() { echo "$root/install/registry-$registry_version"; }

registry_install() {
    find_java
    [ -d "$(registry_home)" ] || need mvn maven
    installed "registry-$registry_version" install_registry
}
install_registry() {
    local archive="apicurio-registry-app-$registry_version-all.tar.gz"
    maven_file "$1" "$archive" "$registry_sha256" "io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all" \
        && tar -xzf "$archive" && rm "$archive"
}

registry_prepare() { :; }
registry_exec() {
    cd "$(registry_home)"
    exec setsid "$found_java/bin/java" -Xmx512m -XX:TieredStopAtLevel=1 \
        -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$registry_port" \
        -Dquarkus.management.host=127.0.0.1 -Dquarkus.management.port="$registry_management_port" \
        -Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 \
        -Dapicurio.datasource.url="jdbc:h2:file:$root/data/registry/registry" \
        -jar quarkus-run.jar
}
registry_alive() { shared registry/alive "$registry_port"; }
registry_setup() { :; }
registry_ready() { registry_alive; }
