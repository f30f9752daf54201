//! What is known of recordings that were fetched from elsewhere.

use crate::State;
use crate::db::{commit, now, sql};
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::stored;
use audiorag_core::Result;
use audiorag_core::id::ContentHash;
use audiorag_core::model::Media;
use sea_orm::{ConnectionTrait as _, QueryResult};

/// A recording in a feed: the feed's URL, and what the feed calls the item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedItem {
    /// The URL of the feed, as the user gave it.
    pub feed: String,
    /// The item's GUID, or what stands in for it.
    pub guid: String,
}

/// The last time that the bytes behind a URL were fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Download {
    /// The URL, as the user or the feed gave it.
    pub url: String,
    /// The server's `ETag`.
    pub etag: Option<String>,
    /// The server's `Last-Modified`.
    pub last_modified: Option<String>,
    /// The hash of the bytes.
    pub content: ContentHash,
    /// Their number.
    pub bytes: u64,
    /// The item of a feed that it is.
    pub item: Option<FeedItem>,
    /// Whether it is in a page, from which another program fetched it.
    pub is_page: bool,
    /// What the feed or the page says of it: title, author, show, date, language, chapters.
    pub said: Option<Media>,
}

const COLUMNS: &str = "url, etag, last_modified, content_hash, bytes, feed, guid, said_json, is_page";

impl State {
    /// Notes that the bytes behind a URL were fetched. An item of a feed that moved to another URL is known by the
    /// new one afterwards.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn save_download(&self, download: &Download) -> Result<()> {
        self.db
            .explain("note a download", async {
                let said = download.said.as_ref().map(stored::write_media).transpose()?;
                let (feed, guid) = match &download.item {
                    Some(item) => (Some(item.feed.as_str()), Some(item.guid.as_str())),
                    None => (None, None),
                };
                let tx = self.db.begin().await?;
                if download.item.is_some() {
                    tx.execute_raw(sql(
                        "DELETE FROM download WHERE feed = $1 AND guid = $2 AND url <> $3",
                        [feed.into(), guid.into(), download.url.as_str().into()],
                    ))
                    .await?;
                }
                tx.execute_raw(sql(
                    "INSERT INTO download (url, etag, last_modified, content_hash, bytes, feed, guid, said_json,
                     is_page, fetched_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                     ON CONFLICT (url) DO UPDATE SET etag = excluded.etag, last_modified = excluded.last_modified,
                     content_hash = excluded.content_hash, bytes = excluded.bytes,
                     feed = coalesce(excluded.feed, feed), guid = coalesce(excluded.guid, guid),
                     said_json = coalesce(excluded.said_json, said_json), is_page = excluded.is_page,
                     fetched_at = excluded.fetched_at",
                    [
                        download.url.as_str().into(),
                        download.etag.as_deref().into(),
                        download.last_modified.as_deref().into(),
                        download.content.as_str().into(),
                        i64::try_from(download.bytes).unwrap_or(i64::MAX).into(),
                        feed.into(),
                        guid.into(),
                        said.into(),
                        download.is_page.into(),
                        now().into(),
                    ],
                ))
                .await?;
                commit(tx, Step::SaveDownload).await
            })
            .await
    }

    /// What is known of a URL.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn download(&self, url: &str) -> Result<Option<Download>> {
        self.db
            .explain("look up a download", async {
                let query = format!("SELECT {COLUMNS} FROM download WHERE url = $1");
                let row = self.db.reader().query_one_raw(sql(&query, [url.into()])).await?;
                row.map(|row| read(&row)).transpose()
            })
            .await
    }

    /// What is known of an item of a feed, whatever its URL was.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn download_of(&self, item: &FeedItem) -> Result<Option<Download>> {
        self.db
            .explain("look up an item of a feed", async {
                let query = format!("SELECT {COLUMNS} FROM download WHERE feed = $1 AND guid = $2");
                let values = [item.feed.as_str().into(), item.guid.as_str().into()];
                let row = self.db.reader().query_one_raw(sql(&query, values)).await?;
                row.map(|row| read(&row)).transpose()
            })
            .await
    }
}

fn read(row: &QueryResult) -> Attempt<Download> {
    let (feed, guid): (Option<String>, Option<String>) = (row.try_get_by_index(5)?, row.try_get_by_index(6)?);
    let said: Option<String> = row.try_get_by_index(7)?;
    Ok(Download {
        url: row.try_get_by_index(0)?,
        etag: row.try_get_by_index(1)?,
        last_modified: row.try_get_by_index(2)?,
        content: ContentHash::from_stored(row.try_get_by_index::<String>(3)?),
        bytes: u64::try_from(row.try_get_by_index::<i64>(4)?).unwrap_or_default(),
        item: feed.zip(guid).map(|(feed, guid)| FeedItem { feed, guid }),
        said: said.as_deref().map(stored::read_media).transpose()?,
        is_page: row.try_get_by_index(8)?,
    })
}
