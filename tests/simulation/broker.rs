//! The fake broker's one queue: what is ready, and what each connection has not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};

/// A message in the queue: its number among all that are sent, and how often it was delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) sent: usize,
    pub(crate) earlier: u32,
}

#[derive(Debug)]
struct Connection {
    instance: u64,
    /// By delivery tag, ascending.
    unacked: VecDeque<(u64, Queued)>,
    tags: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) ready: VecDeque<Queued>,
    connections: BTreeMap<u64, Connection>,
    opened: u64,
}

impl Broker {
    /// A new connection of an instance; its delivery tags begin at 1.
    pub(crate) fn open(&mut self, instance: u64) -> u64 {
        self.opened += 1;
        self.connections.insert(self.opened, Connection { instance, unacked: VecDeque::new(), tags: 0 });
        self.opened
    }

    /// Whether a connection is still there.
    pub(crate) fn is_open(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Delivers the next message to a connection, with its tag, unless it has as many as it may.
    pub(crate) fn deliver(&mut self, connection: u64, prefetch: usize) -> Option<(u64, Queued)> {
        let to = self.connections.get_mut(&connection).filter(|to| to.unacked.len() < prefetch)?;
        let message = self.ready.pop_front()?;
        to.tags += 1;
        to.unacked.push_back((to.tags, message));
        Some((to.tags, message))
    }

    /// Forgets all messages of a connection up to a tag, and says which.
    pub(crate) fn acknowledge(&mut self, connection: u64, last: u64) -> Vec<Queued> {
        let Some(of) = self.connections.get_mut(&connection) else { return Vec::new() };
        let count = of.unacked.iter().take_while(|(tag, _)| *tag <= last).count();
        of.unacked.drain(..count).map(|(_, message)| message).collect()
    }

    /// The connection is lost: what it had comes again, at the front, in order.
    pub(crate) fn close(&mut self, connection: u64) {
        let Some(lost) = self.connections.remove(&connection) else { return };
        for (_, message) in lost.unacked.into_iter().rev() {
            self.ready.push_front(Queued { earlier: message.earlier + 1, ..message });
        }
    }

    /// All connections of an instance are lost.
    pub(crate) fn close_of(&mut self, instance: u64) {
        let lost: Vec<_> = self.connections.iter().filter(|(_, c)| c.instance == instance).map(|(id, _)| *id).collect();
        for connection in lost {
            self.close(connection);
        }
    }

    /// One connection is lost, whichever stands at this place.
    pub(crate) fn close_any(&mut self, at: u64) {
        let at = usize::try_from(at).unwrap() % self.connections.len().max(1);
        if let Some(connection) = self.connections.keys().nth(at).copied() {
            self.close(connection);
        }
    }

    /// How many messages an instance has not acknowledged.
    pub(crate) fn unacked_of(&self, instance: u64) -> usize {
        self.connections.values().filter(|c| c.instance == instance).map(|c| c.unacked.len()).sum()
    }

    /// Whether nothing is left, delivered or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.connections.values().all(|connection| connection.unacked.is_empty())
    }
}
