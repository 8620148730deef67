//! The port to the history as it is stored, for whoever checks it: page by page, and nothing of it believed. How the chains are
//! checked is in [`verify`], how they are held against an export in [`against`].

pub mod against;
pub mod verify;

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::ViewError;
use crate::domain::audit::Claim;

/// Exceptions of one page: some 100 KiB.
pub const HEADS_PER_PAGE: usize = 500;

/// History entries of one page. The largest have a quarter of a MiB, so a page is at most 50 MiB and mostly far below one.
pub const LINKS_PER_PAGE: usize = 200;

/// Our key of an exception; they grow in the order in which submissions were applied.
pub type Key = i64;

/// What an exception's row says about its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// Our key.
    pub key: Key,
    /// What it says.
    pub claim: Claim,
}

/// One row of the history, with numbers as they are stored, whatever they are.
#[derive(Clone, Debug)]
pub struct StoredLink {
    /// Our key of its exception, if there is one.
    pub key: Key,
    /// Its place in the chain.
    pub number: i64,
    /// The stored fields, in the order of [`crate::domain::history::Happening::fields`].
    pub fields: [String; 11],
    /// The stored hash.
    pub hash: Vec<u8>,
}

/// A place among the rows of the history.
pub type Place = (Key, i64);

/// Looks at chains; on connections of its own that cannot write, never the worker's.
#[async_trait]
pub trait Audit: Send + Sync {
    /// The largest key there is, of an exception or of a history row.
    async fn last(&self) -> Result<Option<Key>, ViewError>;

    /// Exceptions by key, both keys among them, at most [`HEADS_PER_PAGE`].
    async fn heads(&self, from: Key, until: Key) -> Result<Vec<StoredHead>, ViewError>;

    /// Rows of the history in order, from a place on, itself among them, up to the last of a key, at most [`LINKS_PER_PAGE`].
    async fn links(&self, from: Place, until: Key) -> Result<Vec<StoredLink>, ViewError>;

    /// One exception's row as it is now.
    async fn head(&self, key: Key) -> Result<Option<StoredHead>, ViewError>;

    /// Exceptions after an id, in the order of its bytes, at most [`HEADS_PER_PAGE`]; from the first without one.
    async fn heads_by_id(&self, after: &str) -> Result<Vec<StoredHead>, ViewError>;

    /// The stored hashes of these entries, at most [`HEADS_PER_PAGE`] of them; those that are there.
    async fn hashes(&self, places: &[Place]) -> Result<BTreeMap<Place, Vec<u8>>, ViewError>;
}
