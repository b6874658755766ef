use std::collections::VecDeque;

use slab::Slab;

use super::Connection;

/// Room for fewer entries than this is not worth giving back.
const SMALL: usize = 256;

impl Connection {
    /// Gives back room that a rush of links and deliveries has left. Takes time in proportion to that room, so it is
    /// to be called now and then, at idle times.
    pub fn trim(&mut self) {
        trim_slab(&mut self.links);
        trim_slab(&mut self.deliveries);
        trim_queue(&mut self.events);
        trim_map(&mut self.senders);
        trim_map(&mut self.receivers);
        for (_, session) in &mut self.sessions {
            trim_slab(&mut session.handles);
            session.incoming.trim();
            session.outgoing.trim();
            trim_queue(&mut session.finals);
        }
        for list in [&mut self.dirty_sessions, &mut self.dirty_links] {
            if list.capacity() > SMALL {
                list.shrink_to(list.len() * 2);
            }
        }
        self.transmit.trim();
    }
}

/// Keys do not change: only room behind the last entry can go.
fn trim_slab<T>(slab: &mut Slab<T>) {
    if slab.capacity() > SMALL && slab.len() < slab.capacity() / 4 {
        slab.shrink_to_fit();
    }
}

pub(super) fn trim_queue<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > SMALL && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

fn trim_map<V>(map: &mut std::collections::HashMap<String, V>) {
    if map.capacity() > SMALL && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}
