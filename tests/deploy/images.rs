//! Compose file and image: pinned, shielded, built from everything that is needed, and set with settings that there are.

use std::collections::BTreeSet;
use std::path::Path;

use reprieve::config::keys::{Form, KEYS};

use super::{CHART, COMPOSE, DOCKERFILE, files, read, text, words, yaml};

/// Images of compose file and Dockerfile, with their places.
fn images() -> Vec<(String, String)> {
    let compose = yaml(COMPOSE);
    let services = compose["services"].as_object().unwrap();
    let mut images: Vec<_> =
        services.iter().map(|(name, service)| (name.clone(), text(&service["image"], name).to_owned())).collect();
    let dockerfile = read(DOCKERFILE);
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    images.extend(bases.map(|base| (DOCKERFILE.to_owned(), base.split(' ').next().unwrap().to_owned())));
    assert!(images.len() >= 7, "{images:?}");
    images
}

#[test]
fn images_have_pinned_tags() {
    for (place, image) in images() {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{place}: {image} has no tag"));
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{place}: {image} moves");
    }
}

#[test]
fn versions_are_those_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let own = format!("reprieve:{version}");
    let built: Vec<_> = images().into_iter().filter(|(_, image)| image.starts_with("reprieve")).collect();
    assert!(built.len() == 3 && built.iter().all(|(_, image)| *image == own), "{built:?}, the program is {version}");
    assert!(read(DOCKERFILE).contains(&format!("ARG VERSION={version}\n")));
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!(text(&chart["appVersion"], CHART), version);
    let toolchain = env!("CARGO_PKG_RUST_VERSION").split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let image = images().into_iter().find_map(|(_, image)| image.strip_prefix("rust:1.").map(str::to_owned)).unwrap();
    let minor = image.split('.').next().unwrap().parse::<u32>().unwrap();
    assert!(minor >= toolchain, "the image builds with Rust 1.{minor}, the crate needs 1.{toolchain}");
}

#[test]
fn every_variable_is_a_known_setting() {
    let mut texts = files("deploy");
    texts.insert(COMPOSE.to_owned(), read(COMPOSE));
    let by_file = |key: &reprieve::config::keys::Key| match key.form {
        Form::Secret => Some(format!("{}_FILE", key.variable)),
        _ => None,
    };
    let known: BTreeSet<String> =
        KEYS.iter().flat_map(|key| [Some(key.variable.to_owned()), by_file(key)]).flatten().collect();
    // What Kubernetes would set for a Service of that name; the chart says why it is turned off.
    let elsewhere = ["REPRIEVE_PORT"];
    let mut seen = 0;
    for (file, text) in &texts {
        for word in ["REPRIEVE_", "DATABASE_URL", "AMQP_URL"].iter().flat_map(|prefix| words(text, prefix)) {
            seen += 1;
            assert!(known.contains(word.1) || elsewhere.contains(&word.1), "{file}: {} is no setting", word.1);
        }
    }
    assert!(seen > 10);
    let services = &yaml(COMPOSE)["services"];
    assert!(services["worker"]["environment"]["DATABASE_URL"].is_string(), "the shared variables are merged in");
}

#[test]
fn compose_publishes_on_loopback_only_and_shields_the_worker() {
    let compose = yaml(COMPOSE);
    for (name, service) in compose["services"].as_object().unwrap() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(text(port, name).starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    let worker = &compose["services"]["worker"];
    assert_eq!(worker["read_only"], true);
    assert_eq!(worker["cap_drop"][0], "ALL");
    assert_eq!(worker["security_opt"][0], "no-new-privileges:true");
}

/// What the program takes in from outside of `src` while it is built has to be in the image's first stage too.
#[test]
fn the_image_is_built_from_everything_that_is_included() {
    let (dockerfile, ignore) = (read(DOCKERFILE), read(".dockerignore"));
    let mut needed = BTreeSet::from(["migrations".to_owned(), "src".to_owned(), "build.rs".to_owned()]);
    for (file, content) in files("src").iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        let code = content.split("#[cfg(test)]").next().unwrap();
        for included in code.split("include_").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
            let depth = Path::new(file).parent().unwrap().components().count();
            let out = included.matches("../").count();
            if out == depth {
                needed.insert(included[3 * out..].split('/').next().unwrap().to_owned());
            }
        }
    }
    assert!(needed.contains("schemas"), "{needed:?}");
    for name in needed {
        assert!(dockerfile.contains(&format!("COPY {name} ")), "{DOCKERFILE} does not copy {name}");
        assert!(ignore.contains(&format!("!{name}\n")), ".dockerignore leaves {name} out");
    }
}
