pub(crate) mod network;
mod paths;
mod rules;
mod scale;
mod simulation;
mod wire;

use bytes::Bytes;

use super::RouterId;
use super::decode::Envelope;
use super::message::{self, Body, Header};
use crate::{core::annotations::Annotations, routing};

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

/// A message as its sender writes it.
fn encode(sender: &str, to: &str, body: &Body) -> Bytes {
    encode_marked(sender, to, body, Some(message::UNTOLD))
}

fn encode_marked(sender: &str, to: &str, body: &Body, mark: Option<u32>) -> Bytes {
    message::encode(&format!("0/{sender}"), &id(sender), to, body, mark)
}

fn id(text: &str) -> RouterId {
    text.into()
}
