//! `compose/docker-compose.yaml` without a docker engine: everything it names exists, nothing is unpinned,
//! and what its services are started and asked with is what the native stack starts and asks them with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("compose")
}
fn read(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("compose/{path}: {error}"))
}
fn parse(path: &str) -> Yaml {
    YamlLoader::load_from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}")).swap_remove(0)
}

/// The file, with what `<<` brings merged in.
fn services() -> BTreeMap<String, Yaml> {
    let file = parse("docker-compose.yaml");
    entries(&file["services"]).into_iter().map(|(name, service)| (name, merged(&service))).collect()
}
fn merged(yaml: &Yaml) -> Yaml {
    let Yaml::Hash(hash) = yaml else { return yaml.clone() };
    let mut out = hash.clone();
    let base = out.remove(&Yaml::String("<<".to_owned())).map(|base| merged(&base));
    if let Some(Yaml::Hash(base)) = base {
        for (key, value) in base {
            out.entry(key).or_insert(value);
        }
    }
    Yaml::Hash(out)
}

/// The entries of a map, values of any kind.
fn entries(yaml: &Yaml) -> BTreeMap<String, Yaml> {
    let hash = yaml.as_hash().into_iter().flatten();
    hash.map(|(key, value)| (text(key), value.clone())).collect()
}
/// The texts of a list.
fn list(yaml: &Yaml) -> Vec<String> {
    yaml.as_vec().into_iter().flatten().map(text).collect()
}
fn text(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(flag) => flag.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

/// What `compose/native/stack commands` says a service is started (or asked) with, on default ports.
fn native(service: &str, verb: &str) -> Vec<String> {
    let mut command = Command::new("bash");
    command.arg(folder().join("native/stack")).args(["commands", service]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEPULSE_STACK_")) {
        command.env_remove(name);
    }
    let output = command.output().expect("bash runs");
    assert!(output.status.success(), "{service}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    said.lines()
        .filter_map(|line| line.strip_prefix(&format!("{service} {verb} ")).map(str::to_owned))
        .collect()
}

/// A setting of the native stack: `name="value"` in a script of it.
fn setting(script: &str, name: &str) -> String {
    let text = read(&format!("native/{script}"));
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let value = line.unwrap_or_else(|| panic!("no `{name}` in native/{script}"));
    value.trim_matches('"').to_owned()
}

/// An argument without what differs between a machine and a container: addresses, folders.
fn shape(argument: &str) -> String {
    let (flag, value) = argument.split_once('=').unwrap_or(("", argument));
    let place = value.starts_with('/') || value.starts_with(':') || value.starts_with("127.0.0.1:");
    match (flag, place) {
        ("", true) => "(place)".to_owned(),
        ("", false) => value.to_owned(),
        (flag, true) => format!("{flag}=(place)"),
        (flag, false) => format!("{flag}={value}"),
    }
}

#[test]
fn every_variable_is_documented_and_every_secret_has_to_be_given() {
    let file = read("docker-compose.yaml");
    let mut used = BTreeMap::new();
    for part in file.split("${").skip(1) {
        let inside = part.split('}').next().expect("closed");
        let name: String = inside.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        used.insert(name.clone(), inside[name.len()..].to_owned());
    }
    assert!(used.len() > 5, "{used:?}");
    let example = read(".env.example");
    let documented: BTreeMap<&str, &str> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        // Compose's own settings are not named in its file.
        .filter(|(name, _)| !name.starts_with("COMPOSE_"))
        .collect();
    let names: BTreeSet<&str> = used.keys().map(String::as_str).collect();
    assert_eq!(names, documented.keys().copied().collect(), "docker-compose.yaml and .env.example");
    for (name, rest) in &used {
        let secret = ["KEY", "PASSWORD", "TOKEN"].iter().any(|word| name.ends_with(word));
        if secret {
            assert!(rest.starts_with(":?"), "`{name}` is a secret: it has no default");
            assert_eq!(documented[name.as_str()], "", "`{name}` is a secret: the example gives none");
        } else {
            assert_eq!(*rest, format!(":-{}", documented[name.as_str()]), "default of `{name}`");
        }
    }
    // What the services themselves call a secret comes from a variable, too.
    for (service, yaml) in services() {
        for (name, value) in entries(&yaml["environment"]) {
            if ["KEY", "PASSWORD", "TOKEN", "ROOT_USER"].iter().any(|word| name.ends_with(word)) {
                assert!(text(&value).starts_with("${"), "`{name}` of `{service}` is written down");
            }
        }
    }
}

#[test]
fn every_file_and_volume_that_is_mounted_exists() {
    let declared: BTreeSet<String> = entries(&parse("docker-compose.yaml")["volumes"]).into_keys().collect();
    let mut used = BTreeSet::new();
    for (service, yaml) in services() {
        for volume in list(&yaml["volumes"]) {
            let from = volume.split(':').next().expect("a source").to_owned();
            if from.starts_with('.') {
                assert!(folder().join(&from).exists(), "`{service}` mounts `{from}`, which is not there");
            } else {
                assert!(
                    declared.contains(&from),
                    "`{service}` mounts volume `{from}`, which is not declared"
                );
                used.insert(from);
            }
        }
        let build = &yaml["build"];
        let Some(context) = build["context"].as_str().or(build.as_str()) else { continue };
        let dockerfile = folder().join(context).join(build["dockerfile"].as_str().unwrap_or("Dockerfile"));
        let recipe = std::fs::read_to_string(&dockerfile)
            .unwrap_or_else(|error| panic!("`{service}` is built from {}: {error}", dockerfile.display()));
        check_dockerfile(&recipe, dockerfile.parent().expect("a folder"), &entries(&build["args"]));
    }
    assert_eq!(used, declared, "volumes that are used, and that are declared");
}

/// What a Dockerfile copies exists, its images are pinned, its arguments are given.
fn check_dockerfile(recipe: &str, context: &Path, given: &BTreeMap<String, Yaml>) {
    let mut stages = BTreeSet::new();
    for line in recipe.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", image, rest @ ..] => {
                assert!(stages.contains(*image) || is_pinned(image), "`{image}` is not pinned");
                if let ["AS", stage] = rest {
                    stages.insert((*stage).to_owned());
                }
            }
            ["ARG", name] => assert!(given.contains_key(*name), "no value for argument `{name}`"),
            ["COPY", from, _] => assert!(context.join(from).exists(), "`COPY {from}`: it is not there"),
            ["COPY", from, _, _] => {
                let stage = from.strip_prefix("--from=").expect("the only flag used");
                assert!(stages.contains(stage), "`COPY {from}`: no such stage");
            }
            _ => {}
        }
    }
    assert!(recipe.contains("\nUSER ") || recipe.contains("FROM apache/kafka"), "it runs as root: {recipe}");
}

/// A tag that says which version, to the patch.
fn is_pinned(image: &str) -> bool {
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
    let parts =
        version.split('.').filter(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    // Debian's and Trino's releases have fewer.
    parts.count() >= 2 || image == "trinodb/trino:476" || tag == "20260212"
}

#[test]
fn only_a_whole_version_counts_as_pinned() {
    for image in ["a:1.2.3", "a/b:v0.28.1", "postgres:15.13-bookworm", "debian:12.11-slim"] {
        assert!(is_pinned(image), "{image}");
    }
    for image in ["a", "a:latest", "a:15", "a:3-slim", "a:bookworm"] {
        assert!(!is_pinned(image), "{image}");
    }
}

#[test]
fn images_have_the_versions_of_the_native_stack() {
    let services = services();
    for (service, yaml) in &services {
        let image = yaml["image"].as_str().unwrap_or_else(|| panic!("`{service}` has no image"));
        assert!(is_pinned(image), "image `{image}` of `{service}` is not pinned");
    }
    let image = |service: &str| text(&services[service]["image"]);
    assert_eq!(
        image("registry"),
        format!("apicurio/apicurio-registry:{}", setting("versions.sh", "registry_version"))
    );
    assert_eq!(
        image("alertmanager"),
        format!("prom/alertmanager:{}", setting("versions.sh", "alertmanager_version"))
    );
    assert_eq!(image("trino"), format!("trinodb/trino:{}", setting("versions.sh", "trino_release")));
    let build = |service: &str| entries(&services[service]["build"]["args"]);
    assert_eq!(text(&build("minio")["MINIO_VERSION"]), setting("versions.sh", "minio_version"));
    let agent = |name: &str| text(&build("kafka")[&format!("JMX_EXPORTER_{name}")]);
    assert_eq!(agent("VERSION"), setting("versions.sh", "jmx_exporter_version"));
    assert_eq!(agent("SHA256"), setting("versions.sh", "jmx_exporter_sha256"));
    let pom = read("native/kafka/pom.xml");
    let kafka =
        pom.split("<kafka.version>").nth(1).and_then(|rest| rest.split('<').next()).expect("a version");
    assert!(
        read("kafka/Dockerfile").contains(&format!("FROM apache/kafka:{kafka}\n")),
        "Kafka is not {kafka}"
    );
    assert_eq!(image("gold"), concat!("lakepulse:", env!("CARGO_PKG_VERSION")));
}

#[test]
fn services_are_started_with_what_the_native_stack_starts_them_with() {
    let services = services();
    for service in ["minio", "postgres", "prometheus", "alertmanager"] {
        let native: BTreeSet<String> = native(service, "starts").iter().map(|a| shape(a)).collect();
        for argument in list(&services[service]["command"]) {
            // The image puts the program in front where the command does not.
            let known = native.contains(&shape(&argument)) || argument == "postgres";
            assert!(known, "`{service}` is started with `{argument}`, the native one with {native:?}");
        }
    }
    // Kafka and the registry get theirs as variables.
    let registry: BTreeSet<String> = native("registry", "starts").into_iter().collect();
    let script = read("native/services/kafka.sh");
    let properties = script.split("<<TEXT\n").nth(1).and_then(|rest| rest.split("\nTEXT").next());
    let kafka: BTreeMap<&str, &str> =
        properties.expect("server.properties").lines().filter_map(|line| line.split_once('=')).collect();
    for (name, value) in entries(&services["kafka"]["environment"]) {
        let value = text(&value);
        let key = name.trim_start_matches("KAFKA_").to_lowercase().replace('_', ".");
        match key.as_str() {
            // The image formats its storage itself, for which it wants the voters by name.
            "controller.quorum.voters" => assert!(kafka.contains_key("controller.quorum.bootstrap.servers")),
            "heap.opts" => {
                assert!(value.split(' ').all(|flag| native("kafka", "starts").contains(&flag.to_owned())))
            }
            "opts" => {
                let agent = native("kafka", "starts").into_iter().find(|a| a.starts_with("-javaagent:"));
                let file = |text: &str| text.rsplit('/').next().map(str::to_owned);
                assert_eq!(file(&value), agent.as_deref().and_then(file), "the agent's settings");
            }
            // Addresses and folders are the container's own.
            "listeners" | "advertised.listeners" | "listener.security.protocol.map" | "log.dirs" => {
                assert!(kafka.contains_key(key.as_str()), "{key}");
            }
            _ => assert_eq!(kafka.get(key.as_str()).copied(), Some(value.as_str()), "{key} of Kafka"),
        }
    }
    for (name, value) in entries(&services["registry"]["environment"]) {
        let key = name.to_lowercase().replace('_', ".");
        let place = key.ends_with(".port") || key.ends_with(".url");
        let known = registry.contains(&format!("-D{key}={}", text(&value)))
            || (place && registry.iter().any(|argument| argument.starts_with(&format!("-D{key}="))));
        assert!(known, "`{key}` of the registry is not among {registry:?}");
    }
}

#[test]
fn services_are_asked_what_the_native_stack_asks_them() {
    let port = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && text.len() > 3;
    for (service, yaml) in services() {
        let check = list(&yaml["healthcheck"]["test"]);
        let asked = check.last().cloned().unwrap_or_default();
        match service.as_str() {
            "minio" | "prometheus" | "alertmanager" | "grafana" => {
                let path = |url: &str| url.splitn(4, '/').nth(3).map(str::to_owned);
                assert_eq!(check[..5], ["CMD", "wget", "-q", "-O", "/dev/null"], "{service}");
                // There is no native Grafana: its own documents name this path.
                let native = if service == "grafana" {
                    vec!["http://x/api/health".to_owned()]
                } else {
                    native(&service, "asks")
                };
                assert_eq!(path(&asked), native.last().and_then(|url| path(url)), "{service}");
            }
            "kafka" | "registry" | "trino" => {
                // The very script: mounted, or copied into the image.
                let native = native(&service, "asks");
                assert_eq!(native[0], format!("{service}/alive"));
                assert_eq!(check[..2], ["CMD", "alive"], "{service}");
                let mounted =
                    list(&yaml["volumes"]).contains(&format!("./{}:/usr/local/bin/alive:ro", native[0]));
                let recipe = folder().join(&service).join("Dockerfile");
                let copied = std::fs::read_to_string(recipe)
                    .is_ok_and(|text| text.contains("COPY alive /usr/local/bin/alive\n"));
                assert!(mounted || copied, "`alive` is not in the container of `{service}`");
            }
            "postgres" => {
                let native = native("postgres", "asks");
                let same = |words: &[String]| {
                    words.iter().filter(|word| !port(word)).cloned().collect::<BTreeSet<_>>()
                };
                assert_eq!(same(&check[1..]), same(&native));
            }
            // The profiles' own services are not what LakePulse waits for, and these end by themselves.
            "notebook" | "tracing" | "bucket" | "registry-data" | "apply" | "sim" => {}
            stage => assert_eq!(check, ["CMD", "lakepulse", "health"], "{stage}"),
        }
        let ends = matches!(service.as_str(), "apply" | "bucket" | "registry-data" | "sim");
        let profile = !yaml["profiles"].is_badvalue();
        assert!(ends || profile || !check.is_empty(), "`{service}` has no health check");
    }
}

#[test]
fn the_bucket_is_made_by_the_script_of_the_native_stack() {
    let bucket = &services()["bucket"];
    assert_eq!(list(&bucket["entrypoint"]), ["bucket"]);
    assert!(read("minio/Dockerfile").contains("COPY bucket /usr/local/bin/bucket\n"));
    assert!(read("native/services/minio.sh").contains("minio_setup() { minio_trusting shared minio/bucket "));
    let url = list(&bucket["command"]).swap_remove(0);
    assert!(url.ends_with(&format!("/{}", setting("settings.sh", "bucket"))), "{url}");
}

#[test]
fn trino_has_the_settings_that_the_native_one_is_run_with() {
    let trino = &services()["trino"];
    let mounted = list(&trino["volumes"]);
    let native = read("native/services/trino.sh");
    let mut said = BTreeSet::new();
    for file in ["catalog", "access-control.properties", "rules.json", "jvm.config"] {
        assert!(mounted.contains(&format!("./trino/{file}:/etc/trino/{file}:ro")), "{file}: {mounted:?}");
        assert!(native.contains(&format!("$compose/trino/{file}")), "the native one does without {file}");
    }
    for file in ["catalog/lake.properties", "catalog/lake_register.properties", "access-control.properties"] {
        let settings = read(&format!("trino/{file}"));
        let names = settings.split("${ENV:").skip(1).map(|rest| rest.split('}').next().expect("closed"));
        said.extend(names.map(str::to_owned));
    }
    let given: BTreeSet<String> = entries(&trino["environment"]).into_keys().collect();
    assert_eq!(given, said, "variables of the container, and those of the settings");
    for name in said.iter().filter(|name| !name.ends_with("_KEY")) {
        assert!(native.contains(&format!("{name}=")), "the native one does not set {name}");
    }
    // Its heap is the container's, too.
    let flags: BTreeSet<String> = self::native("trino", "starts").into_iter().collect();
    for flag in read("trino/jvm.config").lines() {
        assert!(flags.contains(flag), "{flag} is not among {flags:?}");
    }
}

/// Run as they come: they only look.
const LOOKING: [&str; 4] = ["grafana", "trino", "notebook", "tracing"];

#[test]
fn whoever_moves_or_keeps_data_is_confined() {
    for (service, yaml) in services().into_iter().filter(|(name, _)| !LOOKING.contains(&name.as_str())) {
        assert_eq!(yaml["read_only"], Yaml::Boolean(true), "`{service}` writes to its root file system");
        assert_eq!(list(&yaml["cap_drop"]), ["ALL"], "{service}");
        assert!(yaml["cap_add"].is_badvalue() && yaml["privileged"].is_badvalue(), "{service}");
        assert_eq!(list(&yaml["security_opt"]), ["no-new-privileges:true"], "{service}");
        let user = &yaml["user"];
        assert!(user.is_badvalue() || text(user) == "postgres", "`{service}` is not its image's user");
    }
}

#[test]
fn every_foreign_image_of_theirs_has_a_stand_in() {
    let script = read("images");
    let recipes = ["../Dockerfile", "kafka/Dockerfile", "minio/Dockerfile", "registry/Dockerfile"].map(read);
    let bases =
        recipes.iter().flat_map(|recipe| recipe.lines()).filter_map(|line| line.strip_prefix("FROM "));
    let mut images: BTreeSet<String> =
        bases.filter_map(|base| base.split(' ').next()).map(str::to_owned).collect();
    for (service, yaml) in services() {
        if !LOOKING.contains(&service.as_str()) {
            images.insert(text(&yaml["image"]));
        }
    }
    // Stages of a Dockerfile have no tag; what we build ourselves needs none.
    images.retain(|image| image.contains(':') && !image.starts_with("lakepulse"));
    assert!(images.len() > 7, "{images:?}");
    for image in images {
        let repository = image.split(':').next().and_then(|path| path.rsplit('/').next()).expect("a name");
        let name = repository.trim_start_matches("apicurio-");
        assert!(script.contains(&format!("\nmake_{name}() {{\n")), "compose/images makes no `{image}`");
    }
}

#[test]
fn a_container_a_stage_and_bronze_twice() {
    let stages: Vec<String> = services()
        .values()
        .filter(|yaml| !yaml["depends_on"]["apply"].is_badvalue())
        .flat_map(|yaml| list(&yaml["command"]).into_iter().next())
        .collect();
    assert_eq!(stages, ["bronze", "bronze", "gold", "silver", "sim"]);
}

#[test]
fn addresses_are_those_of_the_services_and_ports_those_of_the_native_stack() {
    let services = services();
    let published = |service: &str| -> Vec<String> {
        list(&services[service]["ports"])
            .iter()
            .map(|port| {
                let port = port
                    .strip_prefix("127.0.0.1:")
                    .unwrap_or_else(|| panic!("{port} is open to the network"));
                port.split(':').next().expect("a port").to_owned()
            })
            .collect()
    };
    let native = |variable: &str| {
        let text = setting("settings.sh", variable);
        text.rsplit_once(":-").expect("a default").1.trim_end_matches('}').to_owned()
    };
    for (service, variables) in [
        ("kafka", vec!["kafka_port"]),
        ("registry", vec!["registry_port"]),
        ("minio", vec!["minio_port", "minio_console_port"]),
        ("postgres", vec!["postgres_port"]),
        ("prometheus", vec!["prometheus_port"]),
        ("alertmanager", vec!["alertmanager_port"]),
        ("trino", vec!["trino_port"]),
    ] {
        let expected: Vec<String> = variables.into_iter().map(native).collect();
        assert_eq!(
            published(service),
            expected,
            "{service}: target `compose` finds either stack at the same ports"
        );
    }
    let all: Vec<String> = services.keys().flat_map(|service| published(service)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "two services want one port: {all:?}");

    // Prometheus, Grafana and LakePulse look for services by their names here.
    let prometheus = read("prometheus/prometheus.yml");
    let mut addresses =
        vec![text(&parse("grafana/provisioning/datasources/prometheus.yml")["datasources"][0]["url"])];
    for file in std::fs::read_dir(folder().join("prometheus/targets")).expect("a folder") {
        let name = file.expect("an entry").file_name().into_string().expect("text");
        let job = name.trim_end_matches(".yml");
        assert!(prometheus.contains(&format!("job_name: {job}\n")), "no job reads targets/{name}");
        addresses.extend(list(&parse(&format!("prometheus/targets/{name}"))[0]["targets"]));
    }
    let project = parse("../lakepulse.yaml");
    let target = &project["targets"]["containers"];
    addresses.extend(
        ["kafka", "registry", "lake"]
            .into_iter()
            .zip(["bootstrap", "url", "endpoint"])
            .map(|(a, b)| text(&target[a][b])),
    );
    addresses.extend(list(&services["bucket"]["command"]));
    addresses.extend(["trino", "notebook"].map(|s| text(&services[s]["environment"]["LAKE_ENDPOINT"])));
    assert!(addresses.len() > 10, "{addresses:?}");
    for address in addresses {
        let address = address.trim_start_matches("http://");
        let (host, port) = address.split_once(':').expect("a port");
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let service = services.get(host).unwrap_or_else(|| panic!("no service `{host}`"));
        // Said by its settings, or by a port that is published: the container's side of it.
        let inside = list(&service["ports"]).iter().any(|p| p.rsplit(':').next() == Some(&*port));
        let settings = ["environment", "command", "healthcheck"].map(|part| format!("{:?}", service[part]));
        let known = inside || settings.iter().any(|part| part.contains(&port));
        let stage = list(&service["healthcheck"]["test"]).contains(&"lakepulse".to_owned());
        let image = std::fs::read_to_string(folder().join("../Dockerfile")).expect("a Dockerfile");
        assert!(
            known || (stage && image.contains(&format!("LAKEPULSE_LISTEN=0.0.0.0:{port}"))),
            "nobody listens at `{address}`"
        );
    }
}

/// `await` of the native stack in a shell where the service is a stand-in: it answers at its `after`th question, and
/// is alive until then or not. What it says, and whether it came up.
fn awaited(after: u32, lives: bool, ready_seconds: u32) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!(
        r#"set -euo pipefail
        root="$1" ready_seconds={ready_seconds} patience_seconds=1 asked=0
        say() {{ printf '%s\n' "$*" >&2; }}
        die() {{ say "stack: $*"; exit 1; }}
        . "$2/native/stack.sh"
        mkdir -p "$root/logs"; echo 'last words' >"$root/logs/slow.log"
        fresh=(slow)
        our_pid() {{ {lives}; }}
        slow_alive() {{ asked=$((asked + 1)); [ "$asked" -ge {after} ]; }}
        slow_setup() {{ :; }}
        slow_ready() {{ :; }}
        await slow"#
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]).arg(folder.path()).arg(folder.path());
    std::os::unix::fs::symlink(self::folder().join("native"), folder.path().join("native")).expect("linked");
    let ran = command.output().expect("bash runs");
    (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_slow_service_of_the_native_stack_is_waited_for_and_that_is_said() {
    let (came_up, said) = awaited(10, true, 60);
    assert!(came_up, "{said}");
    assert!(said.contains("slow does not answer yet: 1 s of at most 60 s"), "{said}");
}

#[test]
fn one_that_has_ended_is_not_waited_for_and_its_last_words_are_shown() {
    let (came_up, said) = awaited(u32::MAX, false, 600);
    assert!(!came_up && said.contains("last words") && said.contains("slow has ended"), "{said}");
    let (came_up, said) = awaited(u32::MAX, true, 1);
    assert!(!came_up && said.contains("last words") && said.contains("after 1 s"), "{said}");
}
