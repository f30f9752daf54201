//! Names become addresses here, and addresses that must not be reached are dropped before anybody connects.
//!
//! The client gets only addresses that were judged, so a name that answers differently a moment later (rebinding)
//! changes nothing.

use crate::policy::WebPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// The addresses of a name, when they are there.
pub(crate) type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Where the addresses of a name come from.
pub(crate) trait Lookup: Send + Sync {
    /// All addresses of `name`.
    fn lookup<'a>(&'a self, name: &'a str) -> Addresses<'a>;
}

/// The resolver of the operating system.
pub(crate) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A name whose addresses must not be reached.
#[derive(Debug)]
pub(crate) struct Refused {
    name: String,
    address: IpAddr,
    what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is at {}, which is {}", self.name, self.address, self.what)
    }
}

impl std::error::Error for Refused {}

/// Why a name cannot be used.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It resolves to nothing that may be reached.
    Refused(Refused),
    /// It does not resolve.
    Unknown(io::Error),
}

/// Resolves names and keeps the addresses that `policy` allows.
pub(crate) struct FilteringResolver {
    pub(crate) policy: Arc<WebPolicy>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl FilteringResolver {
    /// The addresses of `name` that may be reached; at least one.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let found = self.lookup.lookup(name).await.map_err(Failure::Unknown)?;
        let mut refused = None;
        let mut kept = Vec::new();
        for address in found {
            match self.policy.refusal(Some(name), address) {
                None => kept.push(address),
                Some(what) => {
                    refused.get_or_insert(Refused {
                        name: name.to_owned(),
                        address,
                        what,
                    });
                }
            }
        }
        match refused {
            Some(refused) if kept.is_empty() => Err(Failure::Refused(refused)),
            None if kept.is_empty() => Err(Failure::Unknown(io::Error::other("the name has no address"))),
            _ => Ok(kept),
        }
    }
}

/// The resolver in the form that reqwest asks for.
pub(crate) struct ForReqwest(pub(crate) Arc<FilteringResolver>);

impl Resolve for ForReqwest {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            match resolver.addresses(name.as_str()).await {
                // Port zero stands for the one of the URL.
                Ok(found) => {
                    let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
                    Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
                }
                Err(Failure::Refused(refused)) => Err(Box::new(refused) as _),
                Err(Failure::Unknown(error)) => Err(Box::new(error) as _),
            }
        })
    }
}
