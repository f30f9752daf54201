//! Languages by their primary code: `en` where `en-US` or `eng` was stored, so that a filter finds all of them.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

/// The tables that have a language.
const TABLES: [&str; 2] = ["revision", "vector"];

/// What stands before the region, in lower case.
const PRIMARY: &str = "lower(trim(substr(language, 1, instr(replace(language, '_', '-') || '-', '-') - 1)))";

/// The code of two letters of the languages that have one; nothing where nobody knew the language.
const SHORT: &str = "
        WHEN 'afr' THEN 'af' WHEN 'alb' THEN 'sq' WHEN 'ara' THEN 'ar' WHEN 'arm' THEN 'hy'
        WHEN 'baq' THEN 'eu' WHEN 'bel' THEN 'be' WHEN 'ben' THEN 'bn' WHEN 'bos' THEN 'bs'
        WHEN 'bul' THEN 'bg' WHEN 'cat' THEN 'ca' WHEN 'ces' THEN 'cs' WHEN 'chi' THEN 'zh'
        WHEN 'cmn' THEN 'zh' WHEN 'cym' THEN 'cy' WHEN 'cze' THEN 'cs' WHEN 'dan' THEN 'da'
        WHEN 'deu' THEN 'de' WHEN 'dut' THEN 'nl' WHEN 'ell' THEN 'el' WHEN 'eng' THEN 'en'
        WHEN 'epo' THEN 'eo' WHEN 'est' THEN 'et' WHEN 'eus' THEN 'eu' WHEN 'fas' THEN 'fa'
        WHEN 'fin' THEN 'fi' WHEN 'fra' THEN 'fr' WHEN 'fre' THEN 'fr' WHEN 'geo' THEN 'ka'
        WHEN 'ger' THEN 'de' WHEN 'gle' THEN 'ga' WHEN 'glg' THEN 'gl' WHEN 'gre' THEN 'el'
        WHEN 'guj' THEN 'gu' WHEN 'heb' THEN 'he' WHEN 'hin' THEN 'hi' WHEN 'hrv' THEN 'hr'
        WHEN 'hun' THEN 'hu' WHEN 'hye' THEN 'hy' WHEN 'ice' THEN 'is' WHEN 'in' THEN 'id'
        WHEN 'ind' THEN 'id' WHEN 'isl' THEN 'is' WHEN 'ita' THEN 'it' WHEN 'iw' THEN 'he'
        WHEN 'jpn' THEN 'ja' WHEN 'kan' THEN 'kn' WHEN 'kat' THEN 'ka' WHEN 'kaz' THEN 'kk'
        WHEN 'kor' THEN 'ko' WHEN 'lat' THEN 'la' WHEN 'lav' THEN 'lv' WHEN 'lit' THEN 'lt'
        WHEN 'mac' THEN 'mk' WHEN 'mal' THEN 'ml' WHEN 'mar' THEN 'mr' WHEN 'may' THEN 'ms'
        WHEN 'mkd' THEN 'mk' WHEN 'msa' THEN 'ms' WHEN 'nep' THEN 'ne' WHEN 'nld' THEN 'nl'
        WHEN 'nno' THEN 'nn' WHEN 'nob' THEN 'nb' WHEN 'nor' THEN 'no' WHEN 'pan' THEN 'pa'
        WHEN 'per' THEN 'fa' WHEN 'pol' THEN 'pl' WHEN 'por' THEN 'pt' WHEN 'ron' THEN 'ro'
        WHEN 'rum' THEN 'ro' WHEN 'rus' THEN 'ru' WHEN 'slk' THEN 'sk' WHEN 'slo' THEN 'sk'
        WHEN 'slv' THEN 'sl' WHEN 'spa' THEN 'es' WHEN 'sqi' THEN 'sq' WHEN 'srp' THEN 'sr'
        WHEN 'swa' THEN 'sw' WHEN 'swe' THEN 'sv' WHEN 'tam' THEN 'ta' WHEN 'tel' THEN 'te'
        WHEN 'tgl' THEN 'tl' WHEN 'tha' THEN 'th' WHEN 'tur' THEN 'tr' WHEN 'ukr' THEN 'uk'
        WHEN 'urd' THEN 'ur' WHEN 'vie' THEN 'vi' WHEN 'wel' THEN 'cy' WHEN 'yid' THEN 'yi'
        WHEN 'zho' THEN 'zh'
        WHEN 'und' THEN NULL WHEN 'mis' THEN NULL WHEN 'mul' THEN NULL WHEN 'zxx' THEN NULL WHEN '' THEN NULL";

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261201_000007_normalise_languages"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let normalise = format!(
                "UPDATE {table} SET language = CASE {PRIMARY} {SHORT} ELSE {PRIMARY} END
                 WHERE language IS NOT NULL"
            );
            manager.get_connection().execute_unprepared(&normalise).await?;
        }
        Ok(())
    }

    /// What was there before is not known any more, and the shorter codes were valid as well.
    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
