# shellcheck shell=bash disable=SC2034
# What is installed. Kafka's version is in kafka/pom.xml. Maven and Go check what they fetch by their
# own checksums; what is unpacked by us is pinned here by SHA-256. PostgreSQL and Prometheus are those of
# the machine's Debian release, which signs them.

# Kafka's metrics for Prometheus.
jmx_exporter_version="1.0.1"
jmx_exporter_sha256="7d61f737fd661610ccc14aea79764faa1ea94a340cbc8f0029b3d2edea3d80c1"

registry_version="3.3.3"
registry_sha256="8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"

# MinIO has no releases any more, only its source: a commit.
minio_version="v0.0.0-20260212201848-7aac2a2c5b7c"

alertmanager_version="v0.28.1"

debezium_version="3.3.1.Final"
debezium_sha256="d7aaa6ff7f408bb082c43d46b5720087ea29e01502097c4f9622038117100fae"

trino_release="476"
trino_sha256="cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f"
trino_java_least=24

# Spark's own version is that of e2e/readers/engines.txt, its jars' are in spark/pom.xml. It runs on neither an
# older nor a newer Java.
spark_java_least=17
spark_java_most=21

# Taken only where the machine has no Java or Go that is new enough.
java_least=21
java_version="25.0.2.1"
java_sha256=(
    383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c # x86_64
    b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac # aarch64
)
go_least=24
go_version="1.27.3"
go_sha256=(
    ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d # x86_64
    4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af # aarch64
)

maven_dependency_plugin="org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
