mod network;
mod paths;
mod rules;
mod simulation;
mod wire;

use bytes::Bytes;

use super::decode::Envelope;
use super::message::{Body, Header};
use super::{Annotations, RouterId};

/// A recorded message by name.
fn recorded(name: &str) -> Bytes {
    let mut hex = String::new();
    let mut lines = include_str!("recorded.txt")
        .lines()
        .skip_while(|line| *line != name)
        .skip(1);
    while let Some(line) = lines.next().filter(|line| line.starts_with(' ')) {
        hex.push_str(line.trim());
    }
    assert!(!hex.is_empty(), "no recorded message {name}");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Annotations, address, originator and body of a message.
fn decode(octets: &Bytes) -> (Annotations, String, Header, Body) {
    let (annotations, rest) = Annotations::split(octets).unwrap();
    let envelope = Envelope::decode(&rest).unwrap();
    let (header, body) = envelope.control().unwrap();
    (
        annotations.unwrap_or_default(),
        envelope.to().unwrap().to_owned(),
        header,
        body,
    )
}

fn id(text: &str) -> RouterId {
    text.into()
}
