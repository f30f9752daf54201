//! Speakers and their names.

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Speakers {
    /// List who speaks
    List {
        /// An id, the start of one, a path or a URL; all sources when left out
        source: Option<String>,
    },
    /// Call somebody by another name
    Rename(Rename),
    /// Give several speakers who are the same person one name
    Merge(Merge),
}

#[derive(Args, Clone, Debug)]
#[command(override_usage = "audiorag speakers rename [OPTIONS] <SOURCE|--all> <OLD> <NEW>")]
pub(crate) struct Rename {
    /// The source (an id, the start of one, a path or a URL; left out with --all), the old name and the new one
    #[arg(required = true, num_args = 2..=3, value_names = ["SOURCE", "OLD", "NEW"])]
    pub(crate) names: Vec<String>,
    /// In all sources, and in those that are indexed later
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Clone, Debug)]
#[command(override_usage = "audiorag speakers merge [OPTIONS] <SOURCE|--all> <OLD>... --into <NEW>")]
pub(crate) struct Merge {
    /// The source (an id, the start of one, a path or a URL; left out with --all) and the names
    #[arg(required = true, num_args = 1.., value_name = "SOURCE|OLD")]
    pub(crate) names: Vec<String>,
    /// The one name
    #[arg(long, value_name = "NEW")]
    pub(crate) into: String,
    /// In all sources, and in those that are indexed later
    #[arg(long)]
    pub(crate) all: bool,
}
