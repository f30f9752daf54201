//! Vector stores against real servers: Chroma, and PostgreSQL with pgvector.
//!
//! Nothing is skipped: without the servers these tests fail. `cargo xtask test` installs them and says where they are.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what these modules do outside test functions is testing as well"
)]

mod chroma;
mod pgvector;
mod process;

use audiorag_core::capability::{Selector, VectorRecord, VectorStore};
use audiorag_core::id::SourceId;
use audiorag_core::model::Filter;
use audiorag_core::{ErrorKind, Secret};
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{VendorContext, find};
use audiorag_testkit::suite::vector_store::Collection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A program that `cargo xtask test` installs.
#[expect(clippy::disallowed_methods, reason = "tests have no settings to resolve")]
fn program(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!("{variable} is not set: run these tests with `cargo xtask test`, which installs the server");
    };
    PathBuf::from(path)
}

/// A store of `vendor` with its defaults and these settings.
fn store(
    vendor: &str,
    settings: &[(&'static str, &str)],
    secrets: &[(&'static str, &str)],
) -> Arc<dyn VectorStore> {
    let vendor = find(vendor).expect("the vendor is compiled in");
    let mut values: BTreeMap<&'static str, String> = vendor
        .settings
        .iter()
        .filter_map(|setting| Some((setting.path, setting.default?.to_owned())))
        .collect();
    values.extend(settings.iter().map(|(path, value)| (*path, (*value).to_owned())));
    let secrets = secrets
        .iter()
        .map(|(path, value)| (*path, Secret::new(value)))
        .collect();
    let http = HttpClient::new(&HttpSettings::default()).unwrap();
    let context = VendorContext {
        values: &values,
        secrets: &secrets,
        model: None,
        dimensions: None,
        notes: None,
        http: &http,
    };
    vendor.store.unwrap().build.unwrap()(&context).unwrap()
}

async fn upsert_all(store: &dyn VectorStore, records: &[VectorRecord]) {
    for batch in records.chunks(store.limits().max_batch) {
        store.upsert(batch.to_vec()).await.unwrap();
    }
}

/// Ten thousand vectors in batches; half of them one source, which is deleted beyond any page.
async fn holds_ten_thousand(store: &dyn VectorStore) {
    let mut collection = Collection::new(64, 10_000);
    let (small, large) = (source(7), source(8));
    for (number, record) in collection.records.iter_mut().enumerate() {
        record.source_id = match number % 20 {
            0..10 => large.clone(),
            10 => small.clone(),
            _ => record.source_id.clone(),
        };
    }
    store.prepare(&collection.space).await.unwrap();
    upsert_all(store, &collection.records).await;
    assert_eq!(store.count(&Selector::All).await.unwrap(), 10_000);
    let of_large = Selector::Source(large.clone());
    assert_eq!(store.count(&of_large).await.unwrap(), 5_000);

    // The index is approximate: most of the nearest must be found, and a selective filter must not empty the answer.
    let mut found = 0;
    for record in collection.records.iter().step_by(500) {
        for (filter, least) in [
            (Filter::default(), 10),
            (
                Filter {
                    sources: vec![small.clone()],
                    speakers: vec!["Ada".to_owned()],
                    ..Filter::default()
                },
                10,
            ),
        ] {
            let exact = collection.search(&record.vector, 10, &filter);
            let matches = store.search(&record.vector, 10, &filter).await.unwrap();
            assert_eq!(matches.len(), least, "{filter:?}");
            found += exact
                .iter()
                .filter(|exact| matches.iter().any(|found| found.id == exact.id))
                .count();
        }
    }
    assert!(found >= 20 * 20 * 9 / 10, "{found} of 400 nearest neighbours");

    store.delete(&of_large).await.unwrap();
    assert_eq!(store.count(&of_large).await.unwrap(), 0);
    assert_eq!(store.count(&Selector::All).await.unwrap(), 5_000);
    let gone = Filter {
        sources: vec![large],
        ..Filter::default()
    };
    let vector = &collection.records[0].vector;
    assert!(store.search(vector, 10, &gone).await.unwrap().is_empty());
    collection.records.retain(|record| record.source_id != source(8));
    assert_eq!(
        store
            .search(&collection.records[0].vector, 1, &Filter::default())
            .await
            .unwrap()[0]
            .id,
        collection.records[0].id
    );
}

/// A place that holds one space refuses another, and says what to do.
async fn refuses_another_space(store: &dyn VectorStore, setting: &str) {
    let mut space = Collection::new(16, 0).space;
    store.prepare(&space).await.unwrap();
    "another".clone_into(&mut space.model);
    let error = store.prepare(&space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("embed everything again") && hint.contains(setting),
        "{hint}"
    );
}

fn source(number: usize) -> SourceId {
    SourceId::from_stored(format!("{number:032x}"))
}
