//! `NO_PROXY`: hosts that are dialled directly.
//!
//! Items are separated by commas or spaces: `*` is everything; `example.com` and `.example.com` are the domain and all
//! below it; an address is itself, `10.0.0.0/8` the addresses of a network. `:443` behind an item restricts it to a port.

use std::net::IpAddr;

/// The rules of one value.
#[derive(Debug, Default)]
pub(super) struct Bypass(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// A name in small letters, without a leading dot.
    Domain(String),
    /// The first bits of an address.
    Network(IpAddr, u8),
}

impl Bypass {
    /// Reads a value; items that mean nothing are skipped.
    pub(super) fn parse(value: &str) -> Self {
        let items = value
            .split([',', ' ', '\t'])
            .filter(|item| !item.is_empty());
        Self(items.filter_map(Rule::parse).collect())
    }

    /// True if a host is dialled directly. This host itself always is.
    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = host
            .parse::<IpAddr>()
            .ok()
            .map(|address| address.to_canonical());
        let local = match address {
            Some(address) => address.is_loopback(),
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        local
            || self.0.iter().any(|rule| {
                rule.port.is_none_or(|only| only == port)
                    && match (&rule.hosts, address) {
                        (Hosts::All, _) => true,
                        (Hosts::Network(network, bits), Some(address)) => {
                            within(address, *network, *bits)
                        }
                        (Hosts::Domain(domain), None) => host
                            .strip_suffix(domain.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                        _ => false,
                    }
            })
    }
}

impl Rule {
    fn parse(item: &str) -> Option<Self> {
        if item == "*" {
            return Some(Self {
                hosts: Hosts::All,
                port: None,
            });
        }
        if let Some(network) = network(item) {
            return Some(Self {
                hosts: network,
                port: None,
            });
        }
        let (name, port) = match item.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (item, None),
        };
        let hosts = match network(name) {
            Some(network) => network,
            None => {
                let name = name.strip_prefix('*').unwrap_or(name);
                let name = name.trim_matches('.').to_ascii_lowercase();
                if name.is_empty() {
                    return None;
                }
                Hosts::Domain(name)
            }
        };
        Some(Self { hosts, port })
    }
}

/// An address, with or without brackets or a prefix length.
fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some(Hosts::Network(address, bits))
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (difference, unused) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (
            u128::from(address.to_bits() ^ network.to_bits()),
            32 - u32::from(bits),
        ),
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits(), 128 - u32::from(bits))
        }
        _ => return false,
    };
    difference.checked_shr(unused).unwrap_or(0) == 0
}
