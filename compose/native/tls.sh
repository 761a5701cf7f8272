# shellcheck shell=bash
# Certificates of the stack, where LAKEPULSE_STACK_SECURE is `yes`: an authority of its own, a certificate for
# the servers and one for a client. They are made once, below the folder, and trusted by nobody else.

tls="$root/tls"

secured() { [ "$secure" = yes ]; }

make_certificates() {
    secured || return 0
    [ -f "$tls/client.pem" ] && return
    need openssl openssl
    say "making certificates in $tls"
    (
        umask 077
        mkdir -p "$tls"
        cd "$tls"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
            -subj "/CN=LakePulse stack authority" -keyout ca.key -out ca.pem
        issue server
        issue client
        # Kafka reads key and chain from one file.
        cat server.key server.pem >kafka.pem
        mkdir -p minio
        cp server.pem minio/public.crt
        cp server.key minio/private.key
    ) >>"$root/logs/install.log" 2>&1 || die "cannot make certificates: see $root/logs/install.log"
}

issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$1.key" -out "$1.csr" \
        && openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
            -copy_extensions copy -out "$1.pem.part" \
        && mv "$1.pem.part" "$1.pem"
}
