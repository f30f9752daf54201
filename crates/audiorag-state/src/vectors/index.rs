//! The side file of one space at work: kept up with the database, scanned, compacted.
//!
//! The rows decide. A number that the file has and the database has not is dead and vanishes when scores are taken
//! from the rows; a number that the database has and the file has not is added before the scan, by whichever
//! process holds the lock file, or else compared row by row. Anything wrong with the file costs time, never an
//! answer.

use super::codes_file;
use super::record::quantize;
use super::rows::{self, Scored};
use super::side_file::{Identity, SideFile};
use super::snapshot::{Candidate, Snapshot};
use crate::db::{Db, beside};
use crate::fault::{Attempt, Fault};
use audiorag_core::Error;
use audiorag_core::capability::Selector;
use audiorag_core::model::Filter;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most rows that a filter may leave for them to be picked out one by one; a wider one is applied afterwards.
const SELECTIVE: usize = 20_000;
/// As many rows are compared exactly at no more cost than a scan and its rescoring.
const FEW: usize = 256;
/// How far scores in eight bits may be from exact ones, in steps of the query's components: rounding errors of some
/// hundred components add up to half a step, and this is many times that, for two vectors.
const REACH: f32 = 8.0;
/// Bytes that are read in less than a millisecond. Waiting for another thread takes as long.
const AT_HAND: usize = 8 << 20;
/// Fewer dead records than these are never worth a new file.
const WORTH_COMPACTING: usize = 4096;

/// As many records without codes are worth writing some.
const WORTH_CODES: usize = if cfg!(test) { 1024 } else { 16_384 };
/// Components that a code needs to tell near vectors from others.
const LEAST_DIMENSIONS: usize = 256;

/// The side file of one space.
pub(super) struct Index {
    space_id: i64,
    dimensions: usize,
    path: PathBuf,
    writable: bool,
    /// Held by the one task of the process that works on the file.
    work: tokio::sync::Mutex<Option<SideFile>>,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    /// Set for good when the file cannot be used.
    broken: AtomicBool,
    /// Set for good when codes cannot be written.
    uncoded: AtomicBool,
}

/// Why the file could not be brought up to date.
enum Trouble {
    /// The database failed: so does the search.
    Rows(Fault),
    /// The file failed: the search goes on without it.
    File(io::Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Rows(fault)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl Index {
    pub(super) fn new(db: &Db, space_id: i64, dimensions: usize) -> Self {
        Self {
            space_id,
            dimensions,
            path: beside(db.path(), &format!(".vectors-{space_id}")),
            writable: !db.is_read_only(),
            work: tokio::sync::Mutex::new(None),
            snapshot: Mutex::new(None),
            broken: AtomicBool::new(false),
            uncoded: AtomicBool::new(false),
        }
    }

    /// The `wanted` nearest vectors that pass the filter, with exact scores, best first.
    pub(super) async fn search(
        &self,
        db: &Db,
        query: &[f32],
        wanted: usize,
        filter: &Filter,
    ) -> Attempt<Vec<Scored>> {
        let (newest, ids) = if filter.is_empty() {
            if let Some(found) = self.at_once(db, query, wanted).await? {
                return Ok(found);
            }
            (rows::newest(db, self.space_id).await?, None)
        } else {
            rows::matching(db, self.space_id, filter, SELECTIVE).await?
        };
        if newest == 0 {
            return Ok(Vec::new());
        }
        let Some(snapshot) = self.up_to_date(db, newest).await? else {
            return self.exact(db, query, wanted, filter).await;
        };
        let mut best = match ids {
            Some(ids) => self.among(db, &snapshot, query, wanted, &ids).await?,
            None => self.anywhere(db, &snapshot, query, wanted, filter).await?,
        };
        if snapshot.last_id() < newest {
            best.extend(rows::scan(db, self.space_id, snapshot.last_id(), filter, query, wanted).await?);
        }
        rows::keep_best(&mut best, wanted);
        Ok(best)
    }

    /// The answer in the usual case, with one statement: nothing is newer than what this process has seen, and the
    /// nearest are all there. `None` in any other case.
    async fn at_once(&self, db: &Db, query: &[f32], wanted: usize) -> Attempt<Option<Vec<Scored>>> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(snapshot) = self.latest() else {
            return Ok(None);
        };
        let candidates = self.scan(&snapshot, query, candidates_for(wanted)).await?;
        let asked = near(&candidates, wanted.saturating_add(wanted / 4 + 2));
        if asked.is_empty() {
            return Ok(None);
        }
        let (mut scored, newest) = self.score(db, asked, &Filter::default(), query).await?;
        if newest > snapshot.last_id() || !are_enough(&scored, asked, &candidates, wanted) {
            return Ok(None);
        }
        rows::keep_best(&mut scored, wanted);
        Ok(Some(scored))
    }

    /// The `wanted` nearest records, on this thread where that takes less time than another one's.
    async fn scan(&self, snapshot: &Arc<Snapshot>, query: &[f32], wanted: usize) -> Attempt<Vec<Candidate>> {
        let quantized = quantize(query);
        if snapshot.bytes_of_a_scan() <= AT_HAND {
            return Ok(snapshot.scan(&quantized, wanted));
        }
        let shared = Arc::clone(snapshot);
        blocking(move || shared.scan(&quantized, wanted)).await
    }

    /// The same by comparing every row: the oracle, and the way out when the file fails.
    pub(super) async fn exact(
        &self,
        db: &Db,
        query: &[f32],
        wanted: usize,
        filter: &Filter,
    ) -> Attempt<Vec<Scored>> {
        rows::scan(db, self.space_id, 0, filter, query, wanted).await
    }

    /// Searches among rows that are known to pass the filter.
    async fn among(
        &self,
        db: &Db,
        snapshot: &Arc<Snapshot>,
        query: &[f32],
        wanted: usize,
        ids: &[i64],
    ) -> Attempt<Vec<Scored>> {
        let few = candidates_for(wanted);
        if ids.len() <= few.max(FEW) {
            let (scored, _) = rows::score(db, self.space_id, ids, &Filter::default(), query).await?;
            return Ok(scored);
        }
        let quantized = quantize(query);
        let found = if ids.len() * snapshot.stride() <= AT_HAND {
            snapshot.scan_only(&quantized, few, ids)
        } else {
            let (shared, ids) = (Arc::clone(snapshot), ids.to_vec());
            blocking(move || shared.scan_only(&quantized, few, &ids)).await?
        };
        let asked = near(&found, wanted);
        let (mut scored, _) = self.score(db, asked, &Filter::default(), query).await?;
        if !are_enough(&scored, asked, &found, wanted) {
            // Somebody is deleting some.
            (scored, _) = self.score(db, &found, &Filter::default(), query).await?;
        }
        Ok(scored)
    }

    /// The exact scores of candidates that are there and pass the filter, and the newest vector.
    async fn score(
        &self,
        db: &Db,
        candidates: &[Candidate],
        filter: &Filter,
        query: &[f32],
    ) -> Attempt<(Vec<Scored>, i64)> {
        let ids: Vec<i64> = candidates.iter().map(|candidate| candidate.id).collect();
        rows::score(db, self.space_id, &ids, filter, query).await
    }

    /// Searches everything, then drops what is dead or does not pass the filter, and widens until enough is left.
    async fn anywhere(
        &self,
        db: &Db,
        snapshot: &Arc<Snapshot>,
        query: &[f32],
        wanted: usize,
        filter: &Filter,
    ) -> Attempt<Vec<Scored>> {
        let enough = wanted.saturating_mul(2).saturating_add(8);
        let mut candidates = candidates_for(wanted);
        loop {
            let found = self.scan(snapshot, query, candidates).await?;
            let exhausted = found.len() < candidates;
            let (scored, _) = self.score(db, &found, filter, query).await?;
            if scored.len() >= enough || exhausted {
                return Ok(scored);
            }
            candidates = candidates.saturating_mul(8);
        }
    }

    /// A snapshot that reaches as far towards `newest` as this process may bring it, or `None` when there is no
    /// usable file.
    async fn up_to_date(&self, db: &Db, newest: i64) -> Attempt<Option<Arc<Snapshot>>> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Some(snapshot) = self.latest().filter(|snapshot| snapshot.last_id() >= newest) {
            return Ok(Some(snapshot));
        }
        let mut work = self.work.lock().await;
        if let Some(snapshot) = self.latest().filter(|snapshot| snapshot.last_id() >= newest) {
            return Ok(Some(snapshot));
        }
        match self.advance(db, &mut work, newest).await {
            Ok(()) => Ok(self.latest()),
            Err(Trouble::Rows(fault)) => Err(fault),
            Err(Trouble::File(error)) => {
                self.give_up(&error);
                *work = None;
                Ok(None)
            }
        }
    }

    /// Takes over what others appended, and appends what is missing if nobody else is at it.
    async fn advance(&self, db: &Db, work: &mut Option<SideFile>, newest: i64) -> Result<(), Trouble> {
        let lock = self.lock()?;
        let current = match work.take() {
            Some(file) if file.is_current() => Some(file),
            _ => None,
        };
        let mut file = match current {
            Some(mut file) => {
                let (file, fresh) = blocking(move || file.read_new().map(|fresh| (file, fresh))).await??;
                self.extend(&file, &fresh)?;
                file
            }
            None => match self.open(db, lock.is_some()).await? {
                Some(file) => file,
                None => return Ok(()),
            },
        };
        if lock.is_some() {
            while file.last_id() < newest {
                let page = rows::page(db, self.space_id, file.last_id()).await?;
                let Some((last, _)) = page.last() else { break };
                let last = *last;
                let (appended, fresh) =
                    blocking(move || file.append(&page).map(|fresh| (file, fresh))).await??;
                file = appended;
                self.extend(&file, &fresh)?;
                if last >= newest {
                    break;
                }
            }
            file = self.add_codes(file).await?;
        }
        *work = Some(file);
        Ok(())
    }

    /// Opens the file; creates it where it is missing or belongs to something else, if that is allowed.
    async fn open(&self, db: &Db, may_create: bool) -> Result<Option<SideFile>, Trouble> {
        let identity = self.identity(db).await?;
        let (path, wanted, writable) = (self.path.clone(), identity.clone(), self.writable);
        let mut opened = blocking(move || SideFile::open(&path, &wanted, writable)).await??;
        if let Some(file) = &opened {
            let snapshot = self.mapped(file)?;
            if self.agrees(db, &snapshot).await? {
                self.replace(snapshot);
            } else {
                opened = None;
            }
        }
        if opened.is_none() && may_create {
            let path = self.path.clone();
            let file = blocking(move || SideFile::create(&path, identity)).await??;
            self.show(&file)?;
            opened = Some(file);
        }
        Ok(opened)
    }

    /// Writes codes for the records that have none when they are many. Without them a search takes longer.
    async fn add_codes(&self, mut file: SideFile) -> Result<SideFile, Trouble> {
        let Some(snapshot) = self.latest() else {
            return Ok(file);
        };
        let coded = snapshot.codes().map_or(0, |codes| codes.len());
        let are_worth_it = self.dimensions >= LEAST_DIMENSIONS && snapshot.len() - coded >= WORTH_CODES;
        if !are_worth_it || self.uncoded.load(Ordering::Relaxed) {
            return Ok(file);
        }
        let (path, shared) = (self.codes_path(), Arc::clone(&snapshot));
        let (file, codes) = blocking(move || {
            let codes = file.seal().and_then(|()| {
                codes_file::bring_up_to_date(&path, file.generation(), &shared, file.count() as usize)
            });
            (file, codes)
        })
        .await?;
        match codes {
            Ok(codes) => self.replace(snapshot.with_codes(Arc::new(codes))),
            Err(error) => {
                self.uncoded.store(true, Ordering::Relaxed);
                tracing::warn!(
                    path = %self.codes_path().display(),
                    %error,
                    "the codes of vectors cannot be written; searches compare every vector and are slower"
                );
            }
        }
        Ok(file)
    }

    fn codes_path(&self) -> PathBuf {
        beside(&self.path, ".codes")
    }

    /// Whether the file can have been made from these rows. A database that was restored from a copy has the name
    /// of the one that the file belongs to, but it will use numbers again that the file has seen already.
    async fn agrees(&self, db: &Db, snapshot: &Snapshot) -> Attempt<bool> {
        if rows::last_number(db).await? < snapshot.last_id() {
            return Ok(false);
        }
        Ok(
            match rows::newest_up_to(db, self.space_id, snapshot.last_id()).await? {
                Some((id, vector)) => snapshot.holds(id, &vector),
                None => true,
            },
        )
    }

    async fn identity(&self, db: &Db) -> Attempt<Identity> {
        Ok(Identity {
            dimensions: self.dimensions,
            space: self.space_id,
            epoch: rows::store_epoch(db).await?,
        })
    }

    /// Brings the file up to date when it has fallen far behind, so that no search has to.
    pub(super) async fn keep_up(&self, db: &Db, at_least: i64) -> Attempt<()> {
        let newest = rows::newest(db, self.space_id).await?;
        let known = self.latest().map_or(0, |snapshot| snapshot.last_id());
        if newest - known >= at_least {
            self.up_to_date(db, newest).await?;
        }
        Ok(())
    }

    /// Writes a new file when more than a quarter of the records are dead.
    pub(super) async fn compact(&self, db: &Db) -> Attempt<()> {
        let newest = rows::newest(db, self.space_id).await?;
        let Some(snapshot) = self.up_to_date(db, newest).await? else {
            return Ok(());
        };
        let live = rows::count(db, &Selector::All, Some(self.space_id)).await? as usize;
        let dead = snapshot.len().saturating_sub(live);
        if dead < WORTH_COMPACTING || dead * 4 <= snapshot.len() {
            return Ok(());
        }
        let mut work = self.work.lock().await;
        match self.rewrite(db).await {
            Ok(Some(file)) => *work = Some(file),
            Ok(None) => {}
            Err(Trouble::Rows(fault)) => return Err(fault),
            Err(Trouble::File(error)) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot compact the vector index");
            }
        }
        Ok(())
    }

    /// Writes all rows into a new file and moves it over the old one.
    async fn rewrite(&self, db: &Db) -> Result<Option<SideFile>, Trouble> {
        let Some(_lock) = self.lock()? else {
            return Ok(None);
        };
        let identity = self.identity(db).await?;
        let temporary = beside(&self.path, ".new");
        let mut file = blocking(move || SideFile::create(&temporary, identity)).await??;
        loop {
            let page = rows::page(db, self.space_id, file.last_id()).await?;
            if page.is_empty() {
                break;
            }
            file = blocking(move || file.append(&page).map(|_| file)).await??;
        }
        let path = self.path.clone();
        let file = blocking(move || file.seal().and_then(|()| file.rename(&path)).map(|()| file)).await??;
        self.show(&file)?;
        Ok(Some(self.add_codes(file).await?))
    }

    /// The right to append, if nobody has it.
    fn lock(&self) -> io::Result<Option<File>> {
        if !self.writable {
            return Ok(None);
        }
        let file = open_lock(&beside(&self.path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn latest(&self) -> Option<Arc<Snapshot>> {
        self.snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(snapshot));
    }

    /// Maps the whole file.
    fn show(&self, file: &SideFile) -> io::Result<()> {
        self.replace(self.mapped(file)?);
        Ok(())
    }

    /// All of a file, with the codes that there are.
    fn mapped(&self, file: &SideFile) -> io::Result<Snapshot> {
        let snapshot = Snapshot::new(file.stride(), file.map()?, file.last_id());
        match codes_file::open(&self.codes_path(), file.generation(), &snapshot) {
            Ok(Some(codes)) => Ok(snapshot.with_codes(Arc::new(codes))),
            Ok(None) => Ok(snapshot),
            Err(error) => {
                tracing::debug!(path = %self.codes_path().display(), %error, "cannot read the codes of vectors");
                Ok(snapshot)
            }
        }
    }

    /// Puts records behind those that are shown already.
    fn extend(&self, file: &SideFile, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        match self
            .latest()
            .map(|snapshot| snapshot.extended(records, file.last_id()))
        {
            Some(snapshot) if !snapshot.wants_mapping() => {
                self.replace(snapshot);
                Ok(())
            }
            _ => self.show(file),
        }
    }

    fn give_up(&self, error: &io::Error) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                path = %self.path.display(),
                %error,
                "the vector index cannot be used; searches compare every vector and are slow"
            );
        }
    }
}

/// How many approximate neighbours are compared exactly for `wanted` of them. Of the true ten, forty approximate
/// ones held all in every measured case (`vector-store.md`, section 1b).
fn candidates_for(wanted: usize) -> usize {
    wanted.saturating_mul(4).max(48)
}

/// Those of the candidates, best first, that may be among the `wanted` nearest when their scores are exact.
fn near(candidates: &[Candidate], wanted: usize) -> &[Candidate] {
    let Some(last) = candidates.get(wanted.saturating_sub(1)) else {
        return candidates;
    };
    let end = candidates.partition_point(|candidate| candidate.score >= last.score - REACH);
    candidates.get(..end).unwrap_or_default()
}

/// Whether the `wanted` nearest are among these, which are what is there of those that were `asked` for, the first of
/// all `candidates`.
fn are_enough(scored: &[Scored], asked: &[Candidate], candidates: &[Candidate], wanted: usize) -> bool {
    if asked.len() < candidates.len() {
        // As if all that are missing had been in front.
        let missing = asked.len() - scored.len().min(asked.len());
        near(candidates, wanted.saturating_add(missing)).len() <= asked.len()
    } else {
        // Then nothing but what is missing can be behind them.
        scored.len() == asked.len()
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Runs work that computes or waits for the disk off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Attempt<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::Explained(Error::internal("a scan stopped").with_cause(error)))
}

#[cfg(test)]
mod code_tests;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
