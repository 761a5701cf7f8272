# shellcheck shell=bash
# Kafka Connect with Debezium's PostgreSQL connector on the retailer's database. Started only when it is named:
# a real Debezium, to feed the project from, and to compare our own reader with.

connect_version() { echo "Debezium $debezium_version"; }
connect_ports() { echo "LAKEPULSE_STACK_CONNECT_PORT $connect_port"; }
connect_home() { echo "$root/install/debezium-$debezium_version"; }
connect_settings="$root/etc/connect.properties"

# Connect itself is among Kafka's jars.
connect_install() {
    kafka_install
    [ -d "$(connect_home)" ] || need mvn maven
    installed "debezium-$debezium_version" install_debezium
}
install_debezium() {
    local archive="debezium-connector-postgres-$debezium_version-plugin.tar.gz"
    maven_file "$1" "$archive" "$debezium_sha256" \
        "io.debezium:debezium-connector-postgres:$debezium_version:tar.gz:plugin" \
        && tar -xzf "$archive" && rm "$archive"
}

connect_prepare() {
    # A null stays null: by default the converter puts the column's default in its place.
    cat >"$connect_settings" <<TEXT
bootstrap.servers=127.0.0.1:$kafka_port
listeners=http://127.0.0.1:$connect_port
plugin.path=$(connect_home)
plugin.discovery=service_load
offset.storage.file.filename=$root/data/connect/offsets
offset.flush.interval.ms=1000
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=true
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=true
value.converter.replace.null.with.default=false
TEXT
}

connect_exec() {
    exec setsid "$found_java/bin/java" -Xms128m -Xmx512m -XX:TieredStopAtLevel=1 -cp "$(kafka_home)/*" \
        -Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS' \
        org.apache.kafka.connect.cli.ConnectStandalone "$connect_settings"
}

connect_url() { echo "http://127.0.0.1:$connect_port/connectors$1"; }
connect_alive() { answers "$(connect_url "")"; }

# The retailer's tables on the topics that the reference project reads.
connect_setup() { postgres_ready && connect_put retailer <"$(connect_retailer)"; }
connect_retailer() {
    local file="$root/etc/connect-retailer.json"
    (
        umask 077
        cat >"$file" <<TEXT
{
  "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
  "plugin.name": "pgoutput",
  "database.hostname": "127.0.0.1",
  "database.port": "$postgres_port",
  "database.user": "lakepulse",
  "database.password": "$LAKEPULSE_POSTGRES_PASSWORD",
  "database.dbname": "$database",
  "slot.name": "debezium",
  "publication.name": "lakepulse",
  "publication.autocreate.mode": "disabled",
  "schema.include.list": "application,sales,warehouse",
  "topic.prefix": "lakepulse",
  "topic.creation.default.replication.factor": "1",
  "topic.creation.default.partitions": "6",
  "provide.transaction.metadata": "true",
  "skipped.operations": "none",
  "transforms": "route",
  "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
  "transforms.route.regex": "lakepulse\\\\.(application|sales|warehouse)\\\\.(.*)",
  "transforms.route.replacement": "lakepulse.cdc.\$2"
}
TEXT
    )
    echo "$file"
}

# Makes a connector what standard input says.
connect_put() {
    curl --silent --show-error --fail-with-body --max-time 60 --noproxy '*' --output /dev/null \
        --request PUT --header 'Content-Type: application/json' --data @- "$(connect_url "/$1/config")"
}

# Until the connector has come up it says UNASSIGNED, or has no task.
connect_ready() {
    local tries status
    for ((tries = 0; tries < 100; tries++)); do
        status="$(curl --silent --max-time 5 --noproxy '*' "$(connect_url /retailer/status)" || true)"
        [[ "$status" != *'"tasks":[{'*'"RUNNING"'* ]] || return 0
        [[ "$status" != *'"FAILED"'* ]] || return 1
        [ "$(our_pid connect)" ] || return 1
        sleep 0.1
    done
    return 1
}
