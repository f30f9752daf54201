//! Exit codes: one match.

use audiorag::core::ErrorKind;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Success,
    /// A defect of the program.
    Internal,
    /// The command line or the input cannot be used, or names what does not exist.
    Usage,
    /// Some sources failed, others were indexed.
    Partial,
    /// Settings, credentials or the build do not allow it.
    Config,
    /// A quota or spending limit is used up.
    Budget,
    /// The database, the store or a provider cannot be used now.
    State,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl ExitStatus {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Config => 4,
            Self::Budget => 5,
            Self::State => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<ErrorKind> for ExitStatus {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Input | ErrorKind::NotFound => Self::Usage,
            ErrorKind::Config | ErrorKind::Auth | ErrorKind::Unsupported => Self::Config,
            ErrorKind::Budget => Self::Budget,
            ErrorKind::State
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::RateLimited
            | ErrorKind::Protocol => Self::State,
            ErrorKind::Cancelled => Self::Interrupted,
            // `Internal`, and kinds that a newer core may add.
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code() {
        let codes: Vec<(&str, u8)> = ErrorKind::ALL
            .into_iter()
            .map(|kind| (kind.as_str(), ExitStatus::from(kind).code()))
            .collect();
        assert_eq!(
            codes,
            [
                ("config", 4),
                ("input", 2),
                ("not_found", 2),
                ("auth", 4),
                ("rate_limited", 6),
                ("budget", 5),
                ("unavailable", 6),
                ("timeout", 6),
                ("protocol", 6),
                ("unsupported", 4),
                ("state", 6),
                ("cancelled", 130),
                ("internal", 1),
            ]
        );
        assert_eq!(ExitStatus::Partial.code(), 3);
        assert_eq!(ExitStatus::Terminated.code(), 143);
    }
}
