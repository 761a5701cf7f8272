# shellcheck shell=bash
# What Spark lacks to read the lake. Spark itself is a Python package (e2e/readers/engines.txt), and no service.

spark_jars() { echo "$root/install/spark-$(sed -n 's:.*<delta.version>\(.*\)</delta.version>.*:\1:p' "$native/spark/pom.xml")"; }

install_spark_jars() {
    maven -f "$native/spark/pom.xml" "$maven_dependency_plugin:copy-dependencies" \
        -DincludeScope=runtime -DoutputDirectory="$1"
}

# Jars for Delta tables and S3, and a Java that Spark runs on.
spark_env() {
    make_folder
    if ! java_between "$spark_java_least" "$spark_java_most"; then
        apt_install openjdk-17-jre-headless
        java_between "$spark_java_least" "$spark_java_most" || die "Spark needs Java 17 to 21: name one by JAVA_HOME"
    fi
    [ -d "$(spark_jars)" ] || need mvn maven
    installed "$(basename "$(spark_jars)")" install_spark_jars >&2
    printf 'export LAKEPULSE_SPARK_JARS=%q\n' "$(spark_jars)"
    printf 'export JAVA_HOME=%q\n' "$found_java"
}
