//! The workspace as `cargo metadata` describes it.

use crate::{environment, process};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folder of the workspace's own `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = environment::manifest_dir();
    manifest_dir
        .parent()
        .map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// Which part of a build a dependency belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Part of the crate, or of its build script.
    Normal,
    /// Only of its tests.
    Dev,
}

/// One package of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression, when the manifest has one.
    pub(crate) license: Option<String>,
    pub(crate) is_member: bool,
    /// Names of the declared features.
    pub(crate) features: BTreeSet<String>,
    /// Declared dependencies, whether or not a feature switches them on.
    pub(crate) dependencies: Vec<(String, Kind)>,
}

/// The packages and the edges between them, with every feature on.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) target_directory: PathBuf,
    /// By package id.
    pub(crate) packages: BTreeMap<String, Package>,
    edges: BTreeMap<String, Vec<(String, Kind)>>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let text = process::capture(&mut process::cargo(&[
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
        ]))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("cargo metadata is not JSON")?;
        let members: BTreeSet<&str> = array(&value, "workspace_members")
            .filter_map(Value::as_str)
            .collect();
        let packages = array(&value, "packages")
            .map(|package| {
                let id = string(package, "id");
                let parsed = Package {
                    name: string(package, "name"),
                    version: string(package, "version"),
                    license: package.get("license").and_then(Value::as_str).map(str::to_owned),
                    is_member: members.contains(id.as_str()),
                    features: package
                        .get("features")
                        .and_then(Value::as_object)
                        .map(|features| features.keys().cloned().collect())
                        .unwrap_or_default(),
                    dependencies: array(package, "dependencies")
                        .map(|dependency| (string(dependency, "name"), kind(dependency)))
                        .collect(),
                };
                (id, parsed)
            })
            .collect();
        let edges = value
            .get("resolve")
            .map(|resolve| {
                array(resolve, "nodes")
                    .map(|node| {
                        let edges = array(node, "deps")
                            .flat_map(|dependency| {
                                array(dependency, "dep_kinds")
                                    .map(|entry| (string(dependency, "pkg"), kind(entry)))
                            })
                            .collect();
                        (string(node, "id"), edges)
                    })
                    .collect()
            })
            .unwrap_or_default();
        let target_directory = PathBuf::from(string(&value, "target_directory"));
        Ok(Self {
            target_directory,
            packages,
            edges,
        })
    }

    /// A graph without edges, for tests of the rules.
    #[cfg(test)]
    pub(crate) fn from_parts(target_directory: PathBuf, packages: BTreeMap<String, Package>) -> Self {
        Self {
            target_directory,
            packages,
            edges: BTreeMap::new(),
        }
    }

    /// The workspace's own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.is_member)
    }

    /// Names of everything that is built to use a package, itself left out: its normal and build dependencies,
    /// and theirs.
    pub(crate) fn closure(&self, name: &str) -> BTreeSet<&str> {
        let mut open: Vec<&str> = self
            .packages
            .iter()
            .filter(|(_, package)| package.name == name)
            .map(|(id, _)| id.as_str())
            .collect();
        let mut seen: BTreeSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            for (next, kind) in self.edges.get(id).into_iter().flatten() {
                if *kind == Kind::Normal && seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.into_iter()
            .filter_map(|id| self.packages.get(id))
            .map(|package| package.name.as_str())
            .filter(|found| *found != name)
            .collect()
    }

    /// Where cargo leaves the program, for a profile's folder such as `debug`.
    pub(crate) fn binary(&self, profile: &str) -> PathBuf {
        self.target_directory
            .join(profile)
            .join(format!("audiorag{}", std::env::consts::EXE_SUFFIX))
    }
}

fn array<'value>(value: &'value Value, key: &str) -> impl Iterator<Item = &'value Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn string(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn kind(value: &Value) -> Kind {
    if value.get("kind").and_then(Value::as_str) == Some("dev") {
        Kind::Dev
    } else {
        Kind::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "target_directory": "/t",
        "workspace_members": ["a 1"],
        "packages": [
            {"id": "a 1", "name": "a", "version": "1.0.0", "license": "MIT", "features": {"x": []},
             "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]},
            {"id": "b 1", "name": "b", "version": "2.0.0", "license": null, "features": {}, "dependencies": []},
            {"id": "c 1", "name": "c", "version": "3.0.0", "license": "ISC", "features": {}, "dependencies": []},
            {"id": "d 1", "name": "d", "version": "4.0.0", "license": "ISC", "features": {}, "dependencies": []}
        ],
        "resolve": {"nodes": [
            {"id": "a 1", "deps": [
                {"pkg": "b 1", "dep_kinds": [{"kind": null}]},
                {"pkg": "c 1", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "b 1", "deps": [{"pkg": "d 1", "dep_kinds": [{"kind": "build"}]}]}
        ]}
    }"#;

    #[test]
    fn reads_members_features_and_declared_dependencies() {
        let workspace = Workspace::parse(METADATA).unwrap();
        let members: Vec<_> = workspace.members().collect();
        assert_eq!(members.len(), 1);
        assert_eq!(
            members[0].dependencies,
            [("b".to_owned(), Kind::Normal), ("c".to_owned(), Kind::Dev)]
        );
        assert!(members[0].features.contains("x"));
        assert_eq!(workspace.binary("debug"), Path::new("/t/debug/audiorag"));
    }

    #[test]
    fn a_closure_follows_build_but_not_dev_dependencies() {
        let workspace = Workspace::parse(METADATA).unwrap();
        assert_eq!(workspace.closure("a").into_iter().collect::<Vec<_>>(), ["b", "d"]);
    }

    #[test]
    fn the_root_holds_this_workspace() {
        assert!(root().join("xtask/src/workspace.rs").is_file());
    }
}
