//! Dynamic addresses of this router: reply addresses of TCP flows and of clients.
//!
//! They come and go with every connection, so they are kept out of the forwarding table, in a few independently locked
//! shards.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use amqp::engine::LinkId;
use rand::RngExt as _;

use super::connection::ConnectionHandle;
use crate::adaptor::tcp::ReplySlot;

const SHARDS: usize = 16;
/// Room for fewer names than this in a shard is not worth giving back.
const SMALL: usize = 64;
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_";

/// Where messages to a dynamic address go.
#[derive(Clone, Debug)]
pub enum LocalTarget {
    /// The listener side of a TCP flow.
    Reply(Arc<ReplySlot>),
    /// An outgoing link to a client.
    Link(Arc<ConnectionHandle>, LinkId),
}

/// Dynamic addresses by their last segment (`temp.<15 characters>`).
#[derive(Debug, Default)]
pub struct LocalAddresses {
    shards: [Mutex<HashMap<String, LocalTarget>>; SHARDS],
}

impl LocalAddresses {
    /// Registers `target` under a new random name.
    pub fn register(&self, target: LocalTarget) -> String {
        let name = format!("temp.{}", random_name(15));
        self.shard(&name).insert(name.clone(), target);
        name
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        let mut names = self.shard(name);
        names.remove(name);
        if names.capacity() > SMALL && names.len() < names.capacity() / 8 {
            let keep = names.len() * 2;
            names.shrink_to(keep);
        }
    }

    /// Target of a name.
    pub fn find(&self, name: &str) -> Option<LocalTarget> {
        self.shard(name).get(name).cloned()
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, name: &str) -> std::sync::MutexGuard<'_, HashMap<String, LocalTarget>> {
        let byte = name.as_bytes().last().copied().unwrap_or_default();
        self.shards[usize::from(byte) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `length` random characters of `[a-zA-Z0-9+_]`.
pub fn random_name(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}
