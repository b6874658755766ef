//! The Open performative between routers: what this router says, and what it reads from the peer's.

use amqp::{Symbol, Value, performative::Open};
use model::router_config::AmqpUrl;

use crate::{core::connection::ConnectionRole, net::failover};

/// Largest frame accepted from any peer (`maxFrameSize` of C routers).
pub const FRAME_SIZE: u32 = 16 * 1024;
/// Largest frame accepted from routers of this implementation, announced in [`OWN_FRAME_SIZE`].
pub const LARGE_FRAME_SIZE: u32 = 64 * 1024;

/// Open property by which routers of this implementation know each other: the largest frame they take, as int. C routers
/// skip symbols they do not know; but those of 2.x answer management queries about connections with broken octets if any
/// property is neither a text nor an int other than zero.
const OWN_FRAME_SIZE: &str = "skupper.frame-size";
/// Open property of edge routers, between routers of this implementation: group correlator of an uplink and the data
/// connections beside it.
const OWN_GROUP: &str = "skupper.group";
/// Open property of an edge router's data connections, between routers of this implementation: int 1.
const OWN_EDGE_DATA: &str = "skupper.edge-data";
/// By it routers of 3.x tell the later one of two groups with the same name.
const ORDINAL: &str = "qd.group-ordinal";
const STREAMING_LINKS: &str = "qd.streaming-links";
const TRUNKING: &str = "qd.connection_trunking";

/// Parameters of the local Open.
#[derive(Clone, Debug)]
pub struct LocalOpen<'a> {
    /// Router id.
    pub container: &'a str,
    /// Configured host of a connector.
    pub hostname: Option<String>,
    /// Role of listener or connector.
    pub role: ConnectionRole,
    /// Link cost; sent when above 1.
    pub cost: u32,
    /// Number of the connection, informational.
    pub number: u64,
    /// Group correlator, connector side only.
    pub group: Option<&'a str>,
    /// Number of the certificates of the group, connector side only.
    pub ordinal: Option<u64>,
    /// Servers that take over from this one, listener side only.
    pub failover: &'a [AmqpUrl],
    /// Largest frame of the configuration.
    pub max_frame_size: u32,
    /// Sessions that the peer may have; at least 1.
    pub max_sessions: u16,
    /// Advertised idle time-out in milliseconds.
    pub idle_time_out: Option<u32>,
}

impl LocalOpen<'_> {
    /// The performative as C routers send it, plus this implementation's mark.
    pub fn performative(&self) -> Open {
        let symbol = |text: &'static str| Value::Symbol(Symbol::from_static(text));
        let int = |number: u64| Value::Int(i32::try_from(number & 0x7fff_ffff).unwrap_or(i32::MAX));
        let mut properties = vec![
            (symbol("product"), Value::from("skupper-router")),
            (symbol("version"), Value::from(model::COMPATIBILITY_VERSION)),
            (symbol("qd.conn-id"), int(self.number)),
        ];
        // The cost and role must be AMQP int: C routers ignore other integer types.
        if self.cost > 1 {
            properties.push((symbol("qd.inter-router-cost"), int(u64::from(self.cost))));
        }
        if self.role == ConnectionRole::InterRouterData {
            properties.push((symbol("qd.inter-router-role"), Value::Int(4)));
        }
        if let (Some(group), true) = (self.group, self.role.is_edge()) {
            properties.push((symbol(OWN_GROUP), Value::from(group)));
        } else if let Some(group) = self.group {
            properties.push((symbol("qd.group-correlator"), Value::from(group)));
            // Routers of 3.x read no other type; those of 2.x must not get it, see above.
            if let Some(ordinal) = self.ordinal {
                properties.push((symbol(ORDINAL), Value::Ulong(ordinal)));
            }
        }
        if matches!(
            self.role,
            ConnectionRole::InterRouter | ConnectionRole::Edge
        ) {
            properties.push((symbol("qd.annotations-version"), Value::Int(2)));
        }
        if self.role == ConnectionRole::EdgeData {
            properties.push((symbol(OWN_EDGE_DATA), Value::Int(1)));
        }
        if self.role != ConnectionRole::Normal {
            properties.push((symbol(OWN_FRAME_SIZE), int(u64::from(LARGE_FRAME_SIZE))));
        }
        properties.extend(failover::property(self.failover));
        let capabilities: Vec<Symbol> = ["ANONYMOUS-RELAY", STREAMING_LINKS, TRUNKING]
            .into_iter()
            .map(Symbol::from_static)
            .collect();
        Open {
            container_id: self.container.to_owned(),
            hostname: self.hostname.clone(),
            max_frame_size: self.max_frame_size,
            channel_max: self.max_sessions.saturating_sub(1),
            idle_time_out: self.idle_time_out,
            offered_capabilities: capabilities.clone(),
            desired_capabilities: capabilities,
            properties,
            ..Open::default()
        }
    }
}

/// What the peer's Open says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerFacts {
    /// Container id.
    pub container: String,
    /// Takes streaming links.
    pub streaming: bool,
    /// Lets data connections carry streams.
    pub trunking: bool,
    /// Link cost it states.
    pub cost: Option<u32>,
    /// It is a data connection.
    pub data: bool,
    /// It is a data connection of an edge router of this implementation.
    pub edge_data: bool,
    /// Group correlator.
    pub group: Option<String>,
    /// Number of the certificates of the group.
    pub ordinal: Option<u64>,
    /// A router of this implementation, and the frame size it takes.
    pub own_frame_size: Option<u32>,
    /// Text and integer properties, for management.
    pub properties: Vec<(String, Value)>,
}

impl PeerFacts {
    /// Reads the peer's Open. Property keys that are not symbols end the scan, as in C routers.
    pub fn read(open: &Open) -> Self {
        let offers = |name: &str| {
            open.offered_capabilities
                .iter()
                .any(|symbol| symbol.as_str() == name)
        };
        let mut facts = Self {
            container: open.container_id.clone(),
            streaming: offers(STREAMING_LINKS),
            trunking: offers(TRUNKING),
            ..Self::default()
        };
        for (key, value) in &open.properties {
            let Value::Symbol(key) = key else { break };
            match (key.as_str(), value) {
                ("qd.inter-router-cost", Value::Int(cost)) => {
                    facts.cost = u32::try_from(*cost).ok().filter(|cost| *cost > 0);
                }
                ("qd.inter-router-role", Value::Int(4)) => facts.data = true,
                (OWN_EDGE_DATA, Value::Int(1)) => facts.edge_data = true,
                ("qd.group-correlator" | OWN_GROUP, value) => {
                    facts.group = value
                        .as_str()
                        .filter(|text| !text.is_empty())
                        .map(str::to_owned);
                }
                (ORDINAL, Value::Ulong(ordinal)) => facts.ordinal = Some(*ordinal),
                (OWN_FRAME_SIZE, value) => {
                    facts.own_frame_size = value.as_u64().map(|size| {
                        u32::try_from(size)
                            .unwrap_or(u32::MAX)
                            .clamp(512, LARGE_FRAME_SIZE)
                    });
                }
                _ => {}
            }
            let shown = match value.as_str() {
                Some(text) => Some(Value::from(text)),
                None => value.as_i64().map(|_| value.clone()),
            };
            let key = key.as_str().to_owned();
            facts.properties.extend(shown.map(|value| (key, value)));
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(role: ConnectionRole) -> Open {
        let parameters = LocalOpen {
            container: "me",
            hostname: None,
            role,
            cost: 7,
            number: 1,
            group: Some("abcdefghijklmno"),
            ordinal: None,
            failover: &[],
            max_frame_size: FRAME_SIZE,
            max_sessions: 5,
            idle_time_out: Some(8000),
        };
        parameters.performative()
    }

    #[test]
    fn own_peers_recognise_each_other_and_data_connections_their_group() {
        let facts = PeerFacts::read(&local(ConnectionRole::InterRouterData));
        assert!(facts.streaming && facts.trunking && facts.data);
        assert_eq!(
            (facts.cost, facts.group.as_deref()),
            (Some(7), Some("abcdefghijklmno"))
        );
        assert_eq!(facts.own_frame_size, Some(LARGE_FRAME_SIZE));
    }

    #[test]
    fn sessions_are_numbered_from_zero_and_properties_keep_their_types() {
        let open = local(ConnectionRole::InterRouter);
        assert_eq!(open.channel_max, 4, "for five sessions");
        let facts = PeerFacts::read(&open);
        let shown = |name: &str| {
            let found = facts.properties.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        assert_eq!(shown("qd.inter-router-cost"), Some(Value::Int(7)));
        assert_eq!(shown("product"), Some(Value::from("skupper-router")));
    }

    #[test]
    fn data_connections_of_edges_are_known_by_their_mark_and_group_which_c_routers_skip() {
        let open = local(ConnectionRole::EdgeData);
        let facts = PeerFacts::read(&open);
        assert!(facts.edge_data && !facts.data);
        assert_eq!(facts.group.as_deref(), Some("abcdefghijklmno"));
        assert!(!PeerFacts::read(&local(ConnectionRole::Edge)).edge_data);
        let found = open.properties.iter().find(|(key, _)| {
            let name = key.as_str().unwrap_or_default();
            ["qd.inter-router-role", "qd.group-correlator"].contains(&name)
        });
        assert_eq!(found, None, "of no use on connections of edges");
    }

    #[test]
    fn routers_of_2_x_can_show_every_property() {
        for role in [
            ConnectionRole::InterRouter,
            ConnectionRole::InterRouterData,
            ConnectionRole::Edge,
            ConnectionRole::EdgeData,
        ] {
            for (key, value) in local(role).properties {
                let shown = matches!(&value, Value::String(_))
                    || matches!(&value, Value::Int(number) if *number != 0);
                assert!(shown, "{key:?}: {value:?}");
            }
        }
    }

    #[test]
    fn clients_get_no_router_properties() {
        let facts = PeerFacts::read(&local(ConnectionRole::Normal));
        assert_eq!((facts.own_frame_size, facts.data), (None, false));
    }

    #[test]
    fn ordinals_go_as_ulong_and_come_as_nothing_else() {
        let parameters = LocalOpen {
            container: "me",
            hostname: None,
            role: ConnectionRole::InterRouterData,
            cost: 1,
            number: 1,
            group: Some("abcdefghijklmno"),
            ordinal: Some(7),
            failover: &[],
            max_frame_size: FRAME_SIZE,
            max_sessions: 5,
            idle_time_out: None,
        };
        let mut open = parameters.performative();
        assert_eq!(PeerFacts::read(&open).ordinal, Some(7));
        for (key, value) in &mut open.properties {
            if key.as_str() == Some(ORDINAL) {
                *value = Value::Int(7);
            }
        }
        assert_eq!(PeerFacts::read(&open).ordinal, None);
    }

    #[test]
    fn a_cost_of_another_integer_type_is_ignored_as_by_c_routers() {
        let mut open = local(ConnectionRole::InterRouter);
        for (key, value) in &mut open.properties {
            if key.as_str() == Some("qd.inter-router-cost") {
                *value = Value::Ulong(7);
            }
        }
        assert_eq!(PeerFacts::read(&open).cost, None);
    }
}
