//! What is counted of control messages, without reading what they say.

use amqp::Value;
use bytes::Bytes;

use super::message::{Destination, PROPERTIES};
use crate::core::annotations::Annotations;

/// Where a control message goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addressed {
    /// Key of the address with its class letter, as management shows it; `R<id>` for those to another router.
    pub key: String,
    /// It began at this router.
    pub own: bool,
}

/// Reads the address of a message that was sent or received by the router `id`; none if no control message has it.
pub fn addressed(message: &Bytes, id: &str) -> Option<Addressed> {
    let (annotations, mut rest) = Annotations::split(message).ok()?;
    let annotations = annotations.unwrap_or_default();
    let own = annotations
        .ingress
        .as_deref()
        .is_none_or(|entry| entry.strip_prefix("0/") == Some(id));
    let mut address = annotations.to_override;
    while address.is_none() {
        let Value::Described(section) = Value::decode(&mut rest).ok()? else {
            return None;
        };
        if section.descriptor.as_u64() == Some(PROPERTIES) {
            let to = section.value.as_list()?.get(2)?.as_str()?;
            address = Some(to.to_owned());
        }
    }
    let address = address?;
    let name = if address.ends_with(".ma") {
        "qdrouter.ma"
    } else {
        "qdrouter"
    };
    let key = match Destination::parse(&address)? {
        Destination::Hello => "Lqdhello".to_owned(),
        Destination::Here => format!("L{name}"),
        Destination::Router(other) if other == id => format!("L{name}"),
        Destination::Router(other) => format!("R{other}"),
        Destination::Flood | Destination::Multicast => format!("T{name}"),
    };
    Some(Addressed { key, own })
}

#[cfg(test)]
mod tests {
    use super::super::message::{Body, FLOOD_ADDRESS, HELLO_ADDRESS, MULTICAST_ADDRESS, encode};
    use super::*;

    #[test]
    fn control_messages_are_told_apart_by_their_address() {
        let message = |to: &str| encode("0/a", &"a".into(), to, &Body::Lsr, None);
        let seen_by = |id: &str, to: &str| addressed(&message(to), id).map(|it| (it.key, it.own));
        let key = |text: &str, own| Some((text.to_owned(), own));
        assert_eq!(seen_by("a", HELLO_ADDRESS), key("Lqdhello", true));
        assert_eq!(seen_by("b", FLOOD_ADDRESS), key("Tqdrouter", false));
        assert_eq!(seen_by("a", MULTICAST_ADDRESS), key("Tqdrouter.ma", true));
        assert_eq!(seen_by("a", "amqp:/_topo/0/b/qdrouter"), key("Rb", true));
        assert_eq!(
            seen_by("b", "amqp:/_topo/0/b/qdrouter.ma"),
            key("Lqdrouter.ma", false)
        );
        assert_eq!(seen_by("a", "elsewhere"), None);
        assert_eq!(addressed(&Bytes::from_static(b"\x00"), "a"), None);
    }
}
