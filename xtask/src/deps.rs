//! The direction of dependencies, as a table that fails when it is broken.
//!
//! `ARCHITECTURE.md` explains the table; this file is what makes it true.

use crate::process::{self, Findings};
use crate::workspace::{Kind, Package, Workspace};
use crate::{licenses, tidy};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

/// Workspace crates that a workspace crate may depend on, directly.
struct Layer {
    name: &'static str,
    normal: &'static [&'static str],
    /// Allowed in its tests besides.
    dev: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "audiorag-core",
        normal: &[],
        dev: &[],
    },
    Layer {
        name: "audiorag-audio",
        normal: &["audiorag-core"],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag-fetch",
        normal: &["audiorag-core"],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag-providers",
        normal: &["audiorag-core"],
        // Its models are tested on real recordings, which have to be decoded.
        dev: &["audiorag-audio", "audiorag-testkit"],
    },
    Layer {
        name: "audiorag-state",
        normal: &["audiorag-core"],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag",
        normal: &[
            "audiorag-audio",
            "audiorag-core",
            "audiorag-fetch",
            "audiorag-providers",
            "audiorag-state",
        ],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag-server",
        normal: &["audiorag"],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag-cli",
        normal: &["audiorag", "audiorag-server"],
        dev: &["audiorag-testkit"],
    },
    Layer {
        name: "audiorag-testkit",
        normal: &["audiorag-core"],
        dev: &[],
    },
    Layer {
        name: "audiorag-e2e",
        normal: &[],
        dev: &[
            "audiorag",
            "audiorag-audio",
            "audiorag-core",
            "audiorag-state",
            "audiorag-testkit",
        ],
    },
    Layer {
        name: "xtask",
        normal: &[],
        dev: &["audiorag-audio"],
    },
];

/// Crates that only the named workspace crates may depend on directly: one concern, one place. Tests are free.
const OWNED: &[(&str, &[&str])] = &[
    // Two clients on purpose: docs/adr/0011-a-crate-for-fetching.md.
    ("reqwest", &["audiorag-fetch", "audiorag-providers"]),
    ("feed-rs", &["audiorag-fetch"]),
    ("quick-xml", &["audiorag-fetch"]),
    ("object_store", &["audiorag-fetch"]),
    ("ort", &["audiorag-providers"]),
    ("tokenizers", &["audiorag-providers"]),
    ("failsafe", &["audiorag-providers"]),
    ("governor", &["audiorag-providers"]),
    ("sea-orm", &["audiorag-state"]),
    ("sea-orm-migration", &["audiorag-state"]),
    ("sqlx", &["audiorag-providers", "audiorag-state"]),
    ("libsqlite3-sys", &["audiorag-state"]),
    ("symphonia", &["audiorag-audio"]),
    ("rubato", &["audiorag-audio"]),
    ("earshot", &["audiorag-audio"]),
    ("clap", &["audiorag-cli"]),
    ("indicatif", &["audiorag-cli"]),
    ("axum", &["audiorag-server"]),
    ("rmcp", &["audiorag-server"]),
    ("anyhow", &["audiorag-cli", "xtask"]),
];

/// Crates that must not be built for a workspace crate at all, at any depth and with every feature on.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "audiorag-core",
        &[
            "tokio",
            "reqwest",
            "hyper",
            "sea-orm",
            "sqlx-core",
            "mio",
            "rustls",
            "ort",
            "serde",
            "symphonia",
        ],
    ),
    (
        "audiorag-audio",
        &["tokio", "reqwest", "hyper", "sea-orm", "sqlx-core", "ort"],
    ),
    ("audiorag-fetch", &["sea-orm", "sqlx-core", "ort", "symphonia"]),
    ("audiorag-state", &["reqwest", "ort", "tokenizers", "symphonia"]),
    ("audiorag-providers", &["sea-orm", "symphonia", "clap"]),
    ("audiorag", &["clap", "indicatif", "axum", "rmcp"]),
];

/// Crates of which two versions in one build mean two connection pools, two TLS stacks or twice the compile time.
const SINGLE: &[&str] = &[
    "hyper",
    "libsqlite3-sys",
    "ort",
    "reqwest",
    "ring",
    "rustls",
    "sea-orm",
    "sqlx-core",
    "symphonia-core",
    "tokio",
];

/// What the facade must not pull in when it is built without default features and with only the named feature.
const LOCAL_MODELS: &[&str] = &["ort", "ort-sys", "tokenizers"];
/// What it must not pull in with no feature at all.
const NETWORK: &[&str] = &["reqwest", "hyper", "rustls"];

/// Everything that is wrong with the dependency graph.
pub(crate) fn check() -> Result<Findings> {
    let workspace = Workspace::load()?;
    let mut findings = directions(&workspace);
    findings.extend(owners(&workspace));
    findings.extend(absent(&workspace));
    findings.extend(duplicates(&workspace));
    findings.extend(vendor_features(&workspace));
    findings.extend(licenses::check(&workspace)?);
    findings.extend(facade_builds(&workspace)?);
    findings.extend(tidy::pure_core()?);
    Ok(findings)
}

fn directions(workspace: &Workspace) -> Findings {
    let members: BTreeSet<&str> = workspace.members().map(|package| package.name.as_str()).collect();
    let mut findings = Findings::new();
    for package in workspace.members() {
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == package.name) else {
            findings.push(format!(
                "{} has no line in the table of xtask/src/deps.rs",
                package.name
            ));
            continue;
        };
        for (dependency, kind) in &package.dependencies {
            let dependency = dependency.as_str();
            let allowed = !members.contains(dependency)
                || layer.normal.contains(&dependency)
                || (*kind == Kind::Dev && (layer.dev.contains(&dependency) || dependency == package.name));
            if !allowed {
                let tests = if *kind == Kind::Dev { " in its tests" } else { "" };
                findings.push(format!("{} must not depend on {dependency}{tests}", package.name));
            }
        }
    }
    findings
}

fn owners(workspace: &Workspace) -> Findings {
    let mut findings = Findings::new();
    for package in workspace.members() {
        for (owned, by) in OWNED {
            if depends_directly(package, owned) && !by.contains(&package.name.as_str()) {
                findings.push(format!(
                    "{} uses {owned}, which is for {} alone",
                    package.name,
                    by.join(" and ")
                ));
            }
        }
    }
    findings
}

fn depends_directly(package: &Package, name: &str) -> bool {
    package
        .dependencies
        .iter()
        .any(|(dependency, kind)| dependency == name && *kind == Kind::Normal)
}

fn absent(workspace: &Workspace) -> Findings {
    let mut findings = Findings::new();
    for (name, forbidden) in ABSENT {
        let closure = workspace.closure(name);
        for found in forbidden.iter().filter(|forbidden| closure.contains(**forbidden)) {
            findings.push(format!(
                "{name} pulls in {found} (see: cargo tree -p {name} -i {found} -e normal)"
            ));
        }
    }
    findings
}

fn duplicates(workspace: &Workspace) -> Findings {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in workspace.packages.values() {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    SINGLE
        .iter()
        .filter_map(|name| Some((name, versions.get(name)?)))
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            let versions: Vec<&str> = versions.iter().copied().collect();
            format!("{name} is there in versions {}: pick one", versions.join(" and "))
        })
        .collect()
}

/// Features of the providers crate that are no vendor.
const NO_VENDOR: &[&str] = &["default", "http", "real-servers"];

/// A vendor is named the same in the features of the crate that has it, of the facade and of the program.
fn vendor_features(workspace: &Workspace) -> Findings {
    let features = |name: &str| {
        workspace
            .members()
            .find(|package| package.name == name)
            .map(|found| &found.features)
    };
    let Some(vendors) = features("audiorag-providers") else {
        return vec!["the crate audiorag-providers is missing".to_owned()];
    };
    let mut findings = Findings::new();
    for vendor in vendors.iter().filter(|name| !NO_VENDOR.contains(&name.as_str())) {
        for forwarder in ["audiorag", "audiorag-cli"] {
            if features(forwarder).is_none_or(|features| !features.contains(vendor)) {
                findings.push(format!(
                    "{forwarder} does not forward the feature {vendor} of audiorag-providers"
                ));
            }
        }
    }
    findings
}

/// A user who depends on the facade with one feature gets that feature's crates and no others.
fn facade_builds(workspace: &Workspace) -> Result<Findings> {
    let mut findings = Findings::new();
    let forbidden: Vec<&str> = LOCAL_MODELS.iter().chain(NETWORK).copied().collect();
    findings.extend(pulled_in("audiorag", None, &forbidden)?);
    let Some(facade) = workspace.members().find(|package| package.name == "audiorag") else {
        findings.push("the facade crate audiorag is missing".to_owned());
        return Ok(findings);
    };
    for feature in &facade.features {
        // These are made of local models, or of everything.
        if matches!(feature.as_str(), "default" | "local" | "vendors") {
            continue;
        }
        // Vendors share the HTTP seam; the one that speaks to PostgreSQL brings a client of its own.
        let others: &[&str] = if feature == "pgvector" {
            &[]
        } else {
            &["sqlx-postgres"]
        };
        let forbidden: Vec<&str> = LOCAL_MODELS.iter().chain(others).copied().collect();
        findings.extend(pulled_in("audiorag", Some(feature), &forbidden)?);
    }
    Ok(findings)
}

fn pulled_in(package: &str, feature: Option<&str>, forbidden: &[&str]) -> Result<Findings> {
    let mut command = process::cargo(&["tree", "-p", package, "--no-default-features", "--locked"]);
    command.args(["-e", "normal,build", "--prefix", "none", "--format", "{p}"]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let tree = process::capture(&mut command)?;
    let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let with = feature.map_or("no feature".to_owned(), |feature| {
        format!("only the feature {feature}")
    });
    Ok(forbidden
        .iter()
        .filter(|name| built.contains(**name))
        .map(|name| format!("{package} with {with} pulls in {name}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn package(name: &str, version: &str, dependencies: &[(&str, Kind)]) -> (String, Package) {
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some("MIT".to_owned()),
            is_member: name.starts_with("audiorag"),
            features: BTreeSet::new(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), *kind))
                .collect(),
        };
        (format!("{name} {version}"), package)
    }

    fn workspace(packages: impl IntoIterator<Item = (String, Package)>) -> Workspace {
        Workspace::from_parts(PathBuf::new(), packages.into_iter().collect())
    }

    #[test]
    fn an_upward_dependency_is_found() {
        let graph = workspace([
            package(
                "audiorag-core",
                "0.1.0",
                &[("audiorag-state", Kind::Normal), ("serde", Kind::Normal)],
            ),
            package(
                "audiorag-state",
                "0.1.0",
                &[("audiorag-core", Kind::Normal), ("audiorag-testkit", Kind::Dev)],
            ),
            package("audiorag-testkit", "0.1.0", &[("audiorag-core", Kind::Normal)]),
            package("audiorag-audio", "0.1.0", &[("audiorag-testkit", Kind::Normal)]),
            package("audiorag-new", "0.1.0", &[]),
        ]);
        assert_eq!(
            directions(&graph),
            [
                "audiorag-audio must not depend on audiorag-testkit",
                "audiorag-core must not depend on audiorag-state",
                "audiorag-new has no line in the table of xtask/src/deps.rs",
            ]
        );
    }

    #[test]
    fn an_owned_crate_in_the_wrong_place_is_found() {
        let graph = workspace([
            package(
                "audiorag-cli",
                "0.1.0",
                &[("reqwest", Kind::Normal), ("ort", Kind::Dev)],
            ),
            package("audiorag-providers", "0.1.0", &[("reqwest", Kind::Normal)]),
        ]);
        assert_eq!(
            owners(&graph),
            ["audiorag-cli uses reqwest, which is for audiorag-fetch and audiorag-providers alone"]
        );
    }

    #[test]
    fn a_vendor_that_is_not_forwarded_is_found() {
        let with = |name: &str, features: &[&str]| {
            let (id, mut package) = package(name, "0.1.0", &[]);
            package.features = features.iter().map(|feature| (*feature).to_owned()).collect();
            (id, package)
        };
        let graph = workspace([
            with("audiorag-providers", &["default", "http", "local", "openai"]),
            with("audiorag", &["default", "local", "openai"]),
            with("audiorag-cli", &["default", "local"]),
        ]);
        assert_eq!(
            vendor_features(&graph),
            ["audiorag-cli does not forward the feature openai of audiorag-providers"]
        );
    }

    #[test]
    fn a_second_version_is_found() {
        let graph = workspace([
            package("rustls", "0.22.0", &[]),
            package("rustls", "0.23.0", &[]),
            package("syn", "1.0.0", &[]),
            package("syn", "2.0.0", &[]),
        ]);
        assert_eq!(
            duplicates(&graph),
            ["rustls is there in versions 0.22.0 and 0.23.0: pick one"]
        );
    }
}
