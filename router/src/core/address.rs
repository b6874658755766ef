//! Address text and table keys.
//!
//! The text that clients write (`queue.one`, `amqp:/_topo/0/east/$management`) is classified by its prefix into a key:
//! one class letter and the rest, as every router of the network does.

use std::fmt;

/// Where an address leads, seen from this router.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressKey<'a> {
    /// Local to this router (`L`): management, dynamic reply addresses, routing control.
    Local(&'a str),
    /// All routers (`T`), used by routing control.
    AllRouters(&'a str),
    /// One other interior router (`R`).
    Router(&'a str),
    /// One edge router (`H`), announced by the interior it is attached to.
    Edge(&'a str),
    /// Mobile (`M`): found wherever a consumer is.
    Mobile(&'a str),
    /// Something only another area or network could resolve.
    Foreign(&'a str),
}

/// The names by which this router knows itself in addresses.
#[derive(Clone, Debug)]
pub struct AddressSpace {
    /// Router id.
    pub id: String,
    /// Edge routers resolve `_edge/…` and send `_topo/…` to their uplink.
    pub edge: bool,
}

impl AddressSpace {
    /// Classifies the text of a terminus, of `to`, or of a to-override annotation.
    pub fn classify<'a>(&self, text: &'a str) -> AddressKey<'a> {
        let text = strip(text);
        if let Some(rest) = text.strip_prefix("_local/") {
            return AddressKey::Local(rest);
        }
        if let Some(rest) = text.strip_prefix("_topo/") {
            return self.topological(rest);
        }
        // The form of 3.x routers with a network id; this router is in no named network.
        if let Some((_, rest)) = text
            .strip_prefix("_xtopo/")
            .and_then(|rest| rest.split_once('/'))
        {
            return self.topological(rest);
        }
        let edge = text.strip_prefix("_edge/").or_else(|| {
            let (_, rest) = text.strip_prefix("_xedge/")?.split_once('/')?;
            Some(rest)
        });
        if let Some(rest) = edge {
            return match rest.split_once('/') {
                Some((id, tail)) if self.edge && id == self.id => AddressKey::Local(tail),
                Some((id, _)) => AddressKey::Edge(id),
                None => AddressKey::Edge(rest),
            };
        }
        if text == "$management" || text.starts_with("_$qd.") {
            return AddressKey::Local(text);
        }
        AddressKey::Mobile(text)
    }

    fn topological<'a>(&self, rest: &'a str) -> AddressKey<'a> {
        let Some((first, tail)) = rest.split_once('/') else {
            return AddressKey::Foreign(rest);
        };
        if first == "all" {
            return AddressKey::AllRouters(tail);
        }
        if first != "0" {
            return AddressKey::Foreign(rest);
        }
        let (id, tail) = tail.split_once('/').unwrap_or((tail, ""));
        if id == "all" {
            AddressKey::AllRouters(tail)
        } else if id == self.id && !self.edge {
            AddressKey::Local(tail)
        } else {
            AddressKey::Router(id)
        }
    }

    /// Address text of a dynamic source on this router: `amqp:/_topo/0/<id>/<name>`, on edges `amqp:/_edge/<id>/<name>`.
    pub fn dynamic(&self, name: &str) -> String {
        if self.edge {
            format!("amqp:/_edge/{}/{name}", self.id)
        } else {
            format!("amqp:/_topo/0/{}/{name}", self.id)
        }
    }
}

impl fmt::Display for AddressKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(rest) => write!(f, "L{rest}"),
            Self::AllRouters(rest) => write!(f, "T{rest}"),
            Self::Router(rest) => write!(f, "R{rest}"),
            Self::Edge(rest) => write!(f, "H{rest}"),
            Self::Mobile(rest) => write!(f, "M{rest}"),
            Self::Foreign(rest) => write!(f, "A{rest}"),
        }
    }
}

/// Removes scheme, host and one trailing separator.
pub fn strip(text: &str) -> &str {
    let text = match text
        .strip_prefix("amqp:")
        .or_else(|| text.strip_prefix("amqps:"))
    {
        Some(rest) => match rest.strip_prefix("//") {
            Some(authority) => authority.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        },
        None => text,
    };
    let text = text.strip_prefix('/').unwrap_or(text);
    text.strip_suffix(['.', '/']).unwrap_or(text)
}

/// True if `prefix` covers whole tokens of `address` (tokens are separated by `.` and `/`).
pub fn prefix_matches(prefix: &str, address: &str) -> bool {
    let prefix = strip(prefix);
    address
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

/// True if `pattern` matches `address`: `*` is one token, `#` any number of tokens.
pub fn pattern_matches(pattern: &str, address: &str) -> bool {
    fn tokens(pattern: &[&str], address: &[&str]) -> bool {
        match pattern.split_first() {
            None => address.is_empty(),
            Some((&"#", rest)) => (0..=address.len()).any(|skip| tokens(rest, &address[skip..])),
            Some((&token, rest)) => address.split_first().is_some_and(|(first, tail)| {
                (token == "*" || token == *first) && tokens(rest, tail)
            }),
        }
    }
    let pattern: Vec<&str> = pattern.split(['.', '/']).collect();
    let address: Vec<&str> = address.split(['.', '/']).collect();
    tokens(&pattern, &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interior() -> AddressSpace {
        AddressSpace {
            id: "me".into(),
            edge: false,
        }
    }

    #[test]
    fn prefixes_decide_the_class() {
        for (text, key) in [
            ("_local/x", "Lx"),
            ("_topo/0/me/temp.1", "Ltemp.1"),
            ("amqp:/_topo/0/me/$management", "L$management"),
            ("_topo/0/all/qdrouter.ma", "Tqdrouter.ma"),
            ("_topo/all/qdrouter", "Tqdrouter"),
            ("amqp://host:5672/_topo/0/other/x", "Rother"),
            ("_topo/0/other", "Rother"),
            ("_topo/5/other/x", "A5/other/x"),
            ("_edge/e1/x", "He1"),
            ("amqp:/_xedge/net/e1/x", "He1"),
            ("amqp:/_xtopo/net/0/me/temp.1", "Ltemp.1"),
            ("svc:8080", "Msvc:8080"),
            ("/a/b/", "Ma/b"),
            ("$management", "L$management"),
        ] {
            assert_eq!(interior().classify(text).to_string(), key, "{text}");
        }
    }

    #[test]
    fn an_edge_resolves_its_own_edge_addresses_and_no_topological_ones() {
        let edge = AddressSpace {
            id: "me".into(),
            edge: true,
        };
        assert_eq!(
            edge.classify("amqp:/_edge/me/temp.1"),
            AddressKey::Local("temp.1")
        );
        assert_eq!(
            edge.classify("amqp:/_edge/you/temp.1"),
            AddressKey::Edge("you")
        );
        assert_eq!(edge.classify("_topo/0/me/x"), AddressKey::Router("me"));
        assert_eq!(edge.dynamic("temp.1"), "amqp:/_edge/me/temp.1");
    }

    #[test]
    fn prefixes_and_patterns_match_whole_tokens() {
        assert!(
            prefix_matches("mc", "mc")
                && prefix_matches("mc", "mc.x")
                && prefix_matches("mc", "mc/x/y")
        );
        assert!(!prefix_matches("mc", "mcx"));
        assert!(pattern_matches("a/*/c", "a/b/c") && !pattern_matches("a/*/c", "a/c"));
        assert!(
            pattern_matches("a.#", "a")
                && pattern_matches("a.#", "a/b/c")
                && pattern_matches("#.z", "x.y.z")
        );
    }
}
