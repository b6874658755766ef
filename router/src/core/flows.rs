//! TCP flows now open, for management: each is shown as a connection, as the C routers do.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::adaptor::tcp::TcpConnector;

/// The other end of a flow's socket.
#[derive(Clone, Debug)]
pub enum FlowPeer {
    /// A client of a tcpListener.
    Client(SocketAddr),
    /// The server of a tcpConnector.
    Server(Arc<TcpConnector>),
}

/// A flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Who is at the other end.
    pub peer: FlowPeer,
    /// Its socket has TLS.
    pub encrypted: bool,
    /// Since when.
    pub opened: Instant,
}

/// Flows by connection number. Workers hardly ever meet: each number has one of several maps.
#[derive(Debug)]
pub struct Flows {
    maps: Box<[Mutex<HashMap<u64, Flow>>]>,
}

impl Flows {
    /// Without any flow yet.
    pub fn new(maps: usize) -> Self {
        Self {
            maps: (0..maps.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// A flow begins; it ends when the guard is dropped. `id` is the number of a new connection.
    pub fn begin(self: &Arc<Self>, id: u64, flow: Flow) -> FlowGuard {
        self.with(id, |map| map.insert(id, flow));
        FlowGuard {
            flows: self.clone(),
            id,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.maps
            .iter()
            .map(|map| map.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<(u64, Flow)> {
        let mut all = Vec::new();
        for map in &self.maps {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(map.iter().map(|(id, flow)| (*id, flow.clone())));
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    fn with<R>(&self, id: u64, look: impl FnOnce(&mut HashMap<u64, Flow>) -> R) -> R {
        let index = id % self.maps.len() as u64;
        let map = &self.maps[usize::try_from(index).unwrap_or_default()];
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut map);
        if map.is_empty() {
            // What a rush of flows has left.
            map.shrink_to(64);
        }
        result
    }
}

/// A flow that is shown until this is dropped.
#[derive(Debug)]
pub struct FlowGuard {
    flows: Arc<Flows>,
    id: u64,
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        self.flows.with(self.id, |map| map.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_shown_while_their_guards_live() {
        let flows = Arc::new(Flows::new(2));
        let flow = |port: u16| Flow {
            peer: FlowPeer::Client(([127, 0, 0, 1], port).into()),
            encrypted: false,
            opened: Instant::now(),
        };
        let guards: Vec<FlowGuard> = [5_u64, 2, 9, 4]
            .into_iter()
            .map(|id| flows.begin(id, flow(u16::try_from(id).unwrap())))
            .collect();
        let ids = |flows: &Flows| -> Vec<u64> { flows.all().iter().map(|(id, _)| *id).collect() };
        assert_eq!(ids(&flows), [2, 4, 5, 9]);
        let mut guards = guards.into_iter();
        drop(guards.next());
        assert_eq!(ids(&flows), [2, 4, 9]);
        assert_eq!(flows.len(), 3);
        drop(guards);
        assert!(flows.is_empty());
    }
}
