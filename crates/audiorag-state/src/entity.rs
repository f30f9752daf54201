//! Tables as sea-orm sees them. Private: verbs speak in core types.
#![expect(clippy::struct_field_names, reason = "fields are named as their columns")]

/// `source`.
pub(crate) mod source {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "source")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: String,
        pub(crate) locator: String,
        pub(crate) title: String,
        pub(crate) content_hash: Option<String>,
        pub(crate) bytes: Option<i64>,
        pub(crate) modified_ns: Option<i64>,
        pub(crate) media: Option<String>,
        pub(crate) date: Option<String>,
        pub(crate) duration_ms: Option<i64>,
        pub(crate) status: String,
        pub(crate) failure_stage: Option<String>,
        pub(crate) failure_kind: Option<String>,
        pub(crate) failure_message: Option<String>,
        pub(crate) epoch: i64,
        pub(crate) owner_host: Option<String>,
        pub(crate) owner_pid: Option<i64>,
        pub(crate) owner_started: Option<i64>,
        pub(crate) lease_until: Option<i64>,
        pub(crate) active_revision: Option<i64>,
        pub(crate) created_at: i64,
        pub(crate) updated_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `revision`.
pub(crate) mod revision {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "revision")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub(crate) id: i64,
        pub(crate) source_id: String,
        pub(crate) content_hash: String,
        pub(crate) config_hash: String,
        pub(crate) config_json: String,
        pub(crate) space_id: i64,
        pub(crate) state: String,
        pub(crate) duration_ms: i64,
        pub(crate) language: Option<String>,
        pub(crate) chunk_count: i64,
        pub(crate) created_at: i64,
        pub(crate) published_at: Option<i64>,
        pub(crate) verified_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `space`.
pub(crate) mod space {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "space")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub(crate) id: i64,
        pub(crate) fingerprint: String,
        pub(crate) provider: String,
        pub(crate) model: String,
        pub(crate) dimensions: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `part`.
pub(crate) mod part {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "part")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) revision_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) idx: i64,
        pub(crate) start_ms: i64,
        pub(crate) end_ms: i64,
        pub(crate) part_key: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `part_transcript`.
pub(crate) mod part_transcript {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "part_transcript")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) part_key: String,
        pub(crate) content_hash: String,
        pub(crate) start_ms: i64,
        pub(crate) end_ms: i64,
        pub(crate) provider: String,
        pub(crate) transcript: String,
        pub(crate) created_at: i64,
        pub(crate) last_used_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `chunk`.
pub(crate) mod chunk {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chunk")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub(crate) id: i64,
        pub(crate) chunk_key: String,
        pub(crate) revision_id: i64,
        pub(crate) source_id: String,
        pub(crate) idx: i64,
        pub(crate) start_ms: i64,
        pub(crate) end_ms: i64,
        pub(crate) text: String,
        pub(crate) header: Option<String>,
        pub(crate) speakers: String,
        pub(crate) lines: String,
        pub(crate) estimated: bool,
        pub(crate) embedding_key: String,
        pub(crate) sounds: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `retirement`.
pub(crate) mod retirement {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "retirement")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) revision_id: i64,
        pub(crate) source_id: String,
        pub(crate) space_id: i64,
        pub(crate) created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
