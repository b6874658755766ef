//! Servers that a connector may dial: its own, and those that take over, as a listener told (Open property
//! `failover-server-list`).
//!
//! As in C routers a list replaces the one before, no list leaves it as it is, and the connector's own server and the
//! one in use always belong to it. What a peer may make this router remember and dial is limited: so many places, each a
//! proper host and port, none that a password would be sent to in the clear.

use std::sync::Arc;

use amqp::{Symbol, Value, performative::Open};
use model::{
    HostPort,
    router_config::{AmqpScheme, AmqpUrl, MAX_FAILOVER_URLS},
};

/// List of maps with the keys below.
const PROPERTY: &str = "failover-server-list";
const HOST: &str = "network-host";
/// Text, from some peers a number.
const PORT: &str = "port";
const SCHEME: &str = "scheme";

/// The Open property by which a listener tells its list; none without a list. It must go to connectors only: C routers
/// die of one that comes from a connector.
pub(crate) fn property(urls: &[AmqpUrl]) -> Option<(Value, Value)> {
    let symbol = |text: &'static str| Value::Symbol(Symbol::from_static(text));
    let servers = urls.iter().map(|url| {
        Value::Map(vec![
            (symbol(HOST), Value::from(url.address.host.as_str())),
            (symbol(PORT), Value::String(url.address.port.to_string())),
            (symbol(SCHEME), Value::from(url.scheme.as_str())),
        ])
    });
    let servers = Value::List(servers.collect());
    (!urls.is_empty()).then(|| (symbol(PROPERTY), servers))
}

/// What a peer's Open says of servers that take over.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    /// The servers; none if the Open says nothing of them.
    pub(crate) servers: Option<Vec<AmqpUrl>>,
    /// What is wrong with the property.
    pub(crate) oddity: Option<String>,
}

impl Told {
    /// Reads the peer's Open. Keys that are not symbols end the scan, as in C routers.
    pub(crate) fn read(open: &Open) -> Self {
        let mut properties = open.properties.iter().map_while(|(key, value)| match key {
            Value::Symbol(key) => Some((key.as_str(), value)),
            _ => None,
        });
        match properties.find(|(key, _)| *key == PROPERTY) {
            None => Self::default(),
            Some((_, Value::List(items))) => Self::of_list(items),
            Some(_) => Self {
                servers: None,
                oddity: Some("it is no list".to_owned()),
            },
        }
    }

    fn of_list(items: &[Value]) -> Self {
        let mut servers: Vec<AmqpUrl> = Vec::new();
        let mut oddity = None;
        for item in items {
            if servers.len() == MAX_FAILOVER_URLS {
                oddity.get_or_insert_with(|| {
                    format!("it has more than {MAX_FAILOVER_URLS} servers, the rest is ignored")
                });
                break;
            }
            match server(item) {
                Ok(server) if servers.iter().any(|known| known.same_place(&server)) => {}
                Ok(server) => servers.push(server),
                Err(reason) => {
                    oddity.get_or_insert(reason);
                }
            }
        }
        // A list of nothing but nonsense is no reason to forget a good one.
        let nonsense = servers.is_empty() && oddity.is_some();
        Self {
            servers: (!nonsense).then_some(servers),
            oddity,
        }
    }
}

fn server(item: &Value) -> Result<AmqpUrl, String> {
    let Value::Map(entries) = item else {
        return Err("a server is no map".to_owned());
    };
    let find = |name: &str| {
        let found = entries
            .iter()
            .find(|(key, _)| matches!(key, Value::Symbol(key) if key.as_str() == name));
        found.map(|(_, value)| value)
    };
    let Some(Value::String(host)) = find(HOST) else {
        return Err(format!("a server has no {HOST}"));
    };
    let scheme = match find(SCHEME) {
        None | Some(Value::Null) => AmqpScheme::Amqp,
        Some(value) => AmqpScheme::ALL
            .iter()
            .copied()
            .find(|scheme| value.as_str() == Some(scheme.as_str()))
            .ok_or_else(|| "a server has an unknown scheme".to_owned())?,
    };
    let port = match find(PORT) {
        None | Some(Value::Null) => Some(scheme.port()),
        Some(Value::String(text)) => match text.as_str() {
            "amqp" => Some(AmqpScheme::Amqp.port()),
            "amqps" => Some(AmqpScheme::Amqps.port()),
            text => text.parse().ok(),
        },
        Some(value) => value.as_u64().and_then(|port| port.try_into().ok()),
    };
    let port = port.ok_or_else(|| "the port of a server is no port number".to_owned())?;
    let address = HostPort::new(host, port).map_err(|error| error.to_string())?;
    Ok(AmqpUrl { scheme, address })
}

/// Servers of one connector, in the order in which they are tried: a ring.
#[derive(Debug)]
pub(crate) struct Servers {
    /// The connector's own one first.
    ring: Vec<Arc<AmqpUrl>>,
    current: usize,
    /// Attempts since one of them worked.
    failures: usize,
}

/// What to do after a connection ended or could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// There is another one, not tried yet in this round.
    Another,
    /// All were tried, or the one that worked is to be tried again.
    Again,
}

impl Servers {
    /// The connector's own server.
    pub(crate) fn new(own: AmqpUrl) -> Self {
        Self {
            ring: vec![Arc::new(own)],
            current: 0,
            failures: 0,
        }
    }

    /// A connection to the current server is open, and told this list. True if that changes anything.
    pub(crate) fn opened(&mut self, told: Vec<AmqpUrl>) -> bool {
        let current = self.current();
        let mut ring = vec![self.ring[0].clone()];
        for server in std::iter::once(current.clone()).chain(told.into_iter().map(Arc::new)) {
            if !ring.iter().any(|known| known.same_place(&server)) {
                ring.push(server);
            }
        }
        self.current = usize::from(!Arc::ptr_eq(&ring[0], &current));
        std::mem::replace(&mut self.ring, ring) != self.ring
    }

    /// The connection to the current server ended, or was not made. `worked` if it had been of use for a while: then it
    /// gets another chance before others are tried.
    pub(crate) fn ended(&mut self, worked: bool) -> Next {
        if worked {
            self.failures = 0;
            return Next::Again;
        }
        self.current = (self.current + 1) % self.ring.len();
        self.failures += 1;
        if self.failures >= self.ring.len() {
            self.failures = 0;
            return Next::Again;
        }
        Next::Another
    }

    /// The server in use, or to be tried next.
    pub(crate) fn current(&self) -> Arc<AmqpUrl> {
        self.ring[self.current].clone()
    }

    /// All of them, the current one first and the others in the order in which they will be tried.
    pub(crate) fn list(&self) -> Vec<AmqpUrl> {
        let (before, after) = self.ring.split_at(self.current);
        let servers = after.iter().chain(before);
        servers.map(|server| AmqpUrl::clone(server)).collect()
    }
}

#[cfg(test)]
mod tests;
