//! PostgreSQL with pgvector: what can be told without a server. The contract runs in `tests/servers`.

use crate::context::store;
use audiorag_core::ErrorKind;
use audiorag_testkit::suite::vector_store::Collection;

#[test]
fn addresses_and_tables_are_checked_and_never_shown() {
    for url in [
        "canary",
        "http://user:canary@host",
        "postgresql://u:canary@host:port/d",
    ] {
        let error = store("pgvector", &[("pgvector.url", url)]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        let shown = format!("{} {error:?}", error.report());
        assert!(!shown.contains("canary"), "{shown}");
    }
    let url = ("pgvector.url", "postgresql://user:canary@localhost/db");
    for table in [
        "",
        "A",
        "a-b",
        "a\"; DROP TABLE x",
        "1a",
        "audiorag_spaces",
        &"a".repeat(41),
    ] {
        let made = store("pgvector", &[url, ("pgvector.table", table)]);
        assert_eq!(
            made.err().map(|error| error.kind()),
            Some(ErrorKind::Config),
            "{table}"
        );
    }
    assert!(store("pgvector", &[url]).is_ok());
    let socket = ("pgvector.url", "postgresql://user:@/db?host=/run/postgresql");
    assert!(store("pgvector", &[socket]).is_ok());
    let missing = store("pgvector", &[]).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::Auth);
    assert!(missing.hint().unwrap().contains("SUPABASE_DB_URL"));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgresql://user:canary@127.0.0.1:{port}/db?sslmode=disable");
    let store = store("pgvector", &[("pgvector.url", &url)]).unwrap();
    let error = store.prepare(&Collection::new(4, 0).space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    let health = store.health_check().await;
    assert_eq!(health.status.as_str(), "unhealthy");
    let shown = format!("{} {error:?} {}", error.report(), health.detail);
    assert!(!shown.contains("canary"), "{shown}");
}
