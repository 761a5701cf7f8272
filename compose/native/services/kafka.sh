# shellcheck shell=bash
# Kafka, one node that is broker and controller.

kafka_version() { sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$native/kafka/pom.xml"; }
kafka_ports() {
    echo "LAKEPULSE_STACK_KAFKA_PORT $kafka_port"
    echo "LAKEPULSE_STACK_KAFKA_CONTROLLER_PORT $kafka_controller_port"
    if secured; then
        echo "LAKEPULSE_STACK_KAFKA_SASL_PORT $kafka_sasl_port"
        echo "LAKEPULSE_STACK_KAFKA_TLS_PORT $kafka_tls_port"
    fi
    echo "LAKEPULSE_STACK_KAFKA_METRICS_PORT $kafka_metrics_port"
}
kafka_home() { echo "$root/install/kafka-$(kafka_version)"; }
kafka_settings="$root/etc/kafka.properties"

kafka_install() {
    find_java
    [ -d "$(kafka_home)" ] || need mvn maven
    installed "kafka-$(kafka_version)" install_kafka
    [ -d "$root/install/jmx-exporter-$jmx_exporter_version" ] || need mvn maven
    installed "jmx-exporter-$jmx_exporter_version" install_jmx_exporter
}
install_jmx_exporter() {
    local jar="jmx_prometheus_javaagent-$jmx_exporter_version.jar"
    maven_file "$1" "$jar" "$jmx_exporter_sha256" "io.prometheus.jmx:jmx_prometheus_javaagent:$jmx_exporter_version" \
        && mv "$jar" agent.jar
}
install_kafka() {
    maven -f "$native/kafka/pom.xml" "$maven_dependency_plugin:copy-dependencies" \
        -DincludeScope=runtime -DoutputDirectory="$1"
}

kafka_prepare() {
    local more="" protocols=""
    if secured; then
        more=",SASL_SSL://127.0.0.1:$kafka_sasl_port,SSL://127.0.0.1:$kafka_tls_port"
        protocols=",SASL_SSL:SASL_SSL,SSL:SSL"
    fi
    # Topics come from `lakepulse apply`, never from a client that asks for one that is not there.
    cat >"$kafka_settings" <<TEXT
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$kafka_controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$kafka_controller_port$more
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_advertised_port,CONTROLLER://127.0.0.1:$kafka_controller_port$more
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$root/data/kafka/log
auto.create.topics.enable=false
unclean.leader.election.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=5000
TEXT
    if secured; then kafka_secure >>"$kafka_settings"; fi
    [ ! -f "$root/data/kafka/log/meta.properties" ] || return 0
    mkdir -p "$root/data/kafka"
    kafka_java -Xmx256m kafka.tools.StorageTool format --standalone \
        -t "$(random_text 16 | cut -c1-22)" -c "$kafka_settings" >>"$root/logs/install.log" 2>&1 \
        || die "cannot format Kafka's storage: see $root/logs/install.log"
}

# User `lakepulse` by password on one listener, whoever has a certificate of ours on the other. The file holds
# the password, so only its owner may read it.
kafka_secure() {
    chmod 600 "$kafka_settings"
    local login="org.apache.kafka.common.security" on="listener.name.sasl_ssl"
    cat <<TEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
$on.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_lakepulse="$KAFKA_PASSWORD";
$on.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
$on.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
$on.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="kafka";
ssl.keystore.type=PEM
ssl.keystore.location=$tls/kafka.pem
ssl.truststore.type=PEM
ssl.truststore.location=$tls/ca.pem
listener.name.ssl.ssl.client.auth=required
TEXT
}

# Passwords of SCRAM are in the cluster, not in a file; they go there by a file, as arguments are public. A request
# takes one mechanism.
kafka_add_user() {
    local file="$root/etc/kafka-user.properties" mechanism added=0
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
        (
            umask 077
            printf '%s=password=%s\n' "$mechanism" "$KAFKA_PASSWORD" >"$file"
        )
        kafka_java -Xmx256m kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$kafka_port" \
            --alter --entity-type users --entity-name lakepulse --add-config-file "$file" || added=1
    done
    rm "$file"
    return "$added"
}

kafka_java() { "$found_java/bin/java" -XX:TieredStopAtLevel=1 -cp "$(kafka_home)/*" "$@"; }

kafka_exec() {
    exec setsid "$found_java/bin/java" -Xms256m -Xmx512m -XX:TieredStopAtLevel=1 -cp "$(kafka_home)/*" \
        -javaagent:"$root/install/jmx-exporter-$jmx_exporter_version/agent.jar=127.0.0.1:$kafka_metrics_port:$compose/kafka/metrics.yml" \
        -Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS' \
        kafka.Kafka "$kafka_settings"
}

kafka_alive() { shared kafka/alive "$kafka_port"; }
kafka_setup() { if secured; then kafka_add_user; fi; }
kafka_ready() { kafka_alive; }

# `stack kafka TopicCommand --list`: the tool's class, its arguments, this broker.
kafka_tool() {
    local class="${1:?which tool? e.g. TopicCommand --list}"
    shift
    kafka_install
    kafka_java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        "org.apache.kafka.tools.$class" --bootstrap-server "127.0.0.1:$kafka_port" "$@"
}
