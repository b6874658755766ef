//! The two framings of TCP streams, their openers and their decoding.
//!
//! | | legacy (v1 networks) | lite (v2 networks) |
//! |---|---|---|
//! | mark | no content-type | content-type `application/octet-stream` |
//! | body | DATA sections | amqp-value null, then raw octets |
//! | window, acknowledgement step | 1 459 620, 364 905 | 1 042 432, 521 216 |

use std::collections::VecDeque;

use amqp::{
    Symbol, Value,
    message::{self, Properties, section},
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const CONTENT_TYPE: &str = "application/octet-stream";
/// Application property with the application protocol of TLS.
const ALPN: &str = "alpn";
/// Application property by which routers of this implementation know each other's lite streams; others skip it.
const OWN: &str = "skupper";
/// Octets in front of the content of a DATA section as this router writes it: `00 53 75 b0` and a 32-bit length.
pub(crate) const DATA_HEADER: usize = 8;
/// Largest DATA section written: peers deliver whole sections only.
pub(crate) const DATA_LIMIT: usize = 64 * 1024;

/// How a TCP stream is laid out in a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// DATA sections.
    Legacy,
    /// Raw octets behind an empty body.
    Lite,
}

impl Framing {
    /// Octets a reader may be ahead of the last acknowledgement.
    pub const fn window(self) -> u64 {
        match self {
            Self::Legacy => 1_459_620,
            Self::Lite => 1_042_432,
        }
    }
}

/// What the first octets of a stream's message say.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamHead {
    /// Framing of the body.
    pub framing: Framing,
    /// `to`, `subject`, `reply-to` and so on.
    pub properties: Properties,
    /// Flow id of the opener.
    pub flow_id: Option<String>,
    /// Application protocol that the client's TLS negotiated, forward streams only.
    pub alpn: Option<String>,
    /// Its end of the stream is at a router of this implementation; known of lite streams only.
    pub own: bool,
    /// Nothing in it that TCP openers do not have. Messages of the HTTP adaptors look like legacy ones otherwise.
    pub tcp: bool,
    /// Octets of the head; the body follows.
    pub len: usize,
}

/// A stream that cannot be understood; it is rejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed stream: {0}")]
pub struct Malformed(&'static str);

impl StreamHead {
    /// Reads the head at the front of `octets`. `Ok(None)`: more octets are needed.
    ///
    /// # Errors
    /// When the sections in front of the body are malformed, or the content-type is unknown.
    pub fn parse(octets: &[u8], complete: bool) -> Result<Option<Self>, Malformed> {
        let mut properties: Option<Properties> = None;
        let mut application: Option<Value> = None;
        let mut at = 0;
        while at < octets.len() {
            let rest = &octets[at..];
            let start = match message::section_start(rest) {
                Err(_) => return Err(Malformed("section")),
                Ok(None) => break,
                Ok(Some(start)) => start,
            };
            let lite = match properties
                .as_ref()
                .and_then(|properties| properties.content_type.as_deref())
            {
                None => false,
                Some(CONTENT_TYPE) => true,
                Some(_) => return Err(Malformed("content-type")),
            };
            if !lite && start.code >= section::DATA && start.code != section::ROUTER_ANNOTATIONS {
                return Ok(Some(head(
                    Framing::Legacy,
                    properties,
                    application.as_ref(),
                    at,
                )));
            }
            let next = match message::next_section(rest) {
                Err(_) => return Err(Malformed("section")),
                Ok(None) => break,
                Ok(Some(next)) => next,
            };
            let value = &rest[next.value_at..next.len];
            at += next.len;
            match next.code {
                section::PROPERTIES => {
                    properties =
                        Some(Properties::decode(value).map_err(|_| Malformed("properties"))?);
                }
                section::APPLICATION_PROPERTIES => {
                    let (value, _) = Value::decode_slice(value)
                        .map_err(|_| Malformed("application-properties"))?;
                    application = Some(value);
                    if !lite {
                        return Ok(Some(head(
                            Framing::Legacy,
                            properties,
                            application.as_ref(),
                            at,
                        )));
                    }
                }
                section::VALUE => {
                    return Ok(Some(head(
                        Framing::Lite,
                        properties,
                        application.as_ref(),
                        at,
                    )));
                }
                section::DATA | section::SEQUENCE | section::FOOTER => {
                    return Err(Malformed("body of a lite stream"));
                }
                _ => {}
            }
        }
        match (complete, properties) {
            (false, _) => Ok(None),
            (true, Some(properties)) if properties.content_type.is_none() => Ok(Some(head(
                Framing::Legacy,
                Some(properties),
                application.as_ref(),
                octets.len(),
            ))),
            (true, _) => Err(Malformed("incomplete")),
        }
    }
}

fn head(
    framing: Framing,
    properties: Option<Properties>,
    application: Option<&Value>,
    len: usize,
) -> StreamHead {
    let properties = properties.unwrap_or_default();
    let flow_id = match framing {
        Framing::Lite => properties.correlation_id.as_str(),
        Framing::Legacy => application
            .and_then(|map| map.get(":flowid"))
            .and_then(Value::as_str),
    };
    // What cannot be a protocol's name (RFC 7301 §3.1) cannot be offered.
    let alpn = application
        .and_then(|map| map.get(ALPN))
        .and_then(Value::as_str)
        .filter(|alpn| (1..=255).contains(&alpn.len()));
    StreamHead {
        framing,
        flow_id: flow_id.map(str::to_owned),
        alpn: alpn.map(str::to_owned),
        own: application.is_some_and(|map| map.get(OWN).is_some()),
        tcp: is_tcp(framing, &properties, application),
        properties,
        len,
    }
}

fn is_tcp(framing: Framing, properties: &Properties, application: Option<&Value>) -> bool {
    let known: &[&str] = match framing {
        Framing::Legacy => &[":flowid", ALPN],
        Framing::Lite => &["V", ALPN, OWN],
    };
    let entries = match application {
        Some(Value::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    let of_http = framing == Framing::Legacy
        && (properties.correlation_id != Value::Null || properties.group_id.is_some());
    !of_http
        && entries
            .iter()
            .all(|(key, _)| key.as_str().is_some_and(|key| known.contains(&key)))
}

/// First octets of the listener's message.
#[derive(Clone, Copy, Debug)]
pub struct ForwardOpener<'a> {
    /// Service address.
    pub to: &'a str,
    /// Where the reverse stream is to be sent.
    pub reply_to: &'a str,
    /// `<client ip>:<port>[@<site id>]`, legacy only: labels the connection in management.
    pub global_id: &'a str,
    /// Identity of the flow.
    pub flow_id: &'a str,
    /// Application protocol that the client's TLS negotiated.
    pub alpn: Option<&'a str>,
    /// The client's end of the stream is at a router of this implementation; said in lite framing only.
    pub own: bool,
}

impl ForwardOpener<'_> {
    /// Sections in front of the body.
    pub fn encode(&self, framing: Framing) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        let mut properties = Properties {
            to: Some(self.to.to_owned()),
            reply_to: Some(self.reply_to.to_owned()),
            ..Properties::default()
        };
        match framing {
            Framing::Legacy => {
                properties.subject = Some(self.global_id.to_owned());
                properties.encode(&mut out, 5);
                write_flow_id(self.flow_id, self.alpn, &mut out);
            }
            Framing::Lite => {
                properties.correlation_id = Value::from(self.flow_id);
                properties.content_type = Some(CONTENT_TYPE.to_owned());
                properties.encode(&mut out, 7);
                write_lite_body(self.alpn, self.own, &mut out);
            }
        }
        out.freeze()
    }
}

/// First octets of the connector's message.
#[derive(Clone, Copy, Debug)]
pub struct ReverseOpener<'a> {
    /// The forward message's reply-to, octet for octet.
    pub to: &'a str,
    /// The forward message's subject, legacy only.
    pub subject: Option<&'a str>,
    /// Identity of the connector's own flow record, legacy only.
    pub flow_id: &'a str,
    /// The server's end of the stream is at a router of this implementation; said in lite framing only.
    pub own: bool,
}

impl ReverseOpener<'_> {
    /// Sections in front of the body.
    pub fn encode(&self, framing: Framing) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        let mut properties = Properties {
            to: Some(self.to.to_owned()),
            ..Properties::default()
        };
        match framing {
            Framing::Legacy => {
                properties.subject = self.subject.map(str::to_owned);
                properties.encode(&mut out, 5);
                write_flow_id(self.flow_id, None, &mut out);
            }
            Framing::Lite => {
                properties.content_type = Some(CONTENT_TYPE.to_owned());
                properties.encode(&mut out, 7);
                write_lite_body(None, self.own, &mut out);
            }
        }
        out.freeze()
    }
}

fn write_flow_id(flow_id: &str, alpn: Option<&str>, out: &mut BytesMut) {
    let flow_id = (
        Value::Symbol(Symbol::from_static(":flowid")),
        Value::from(flow_id),
    );
    write_application_properties(vec![flow_id], alpn, out);
}

/// Mapping version 1 and the empty body: routers from 3.0 on may require the version.
fn write_lite_body(alpn: Option<&str>, own: bool, out: &mut BytesMut) {
    let own = own.then(|| (Value::from(OWN), Value::Bool(true)));
    let version = (Value::from("V"), Value::Uint(1));
    write_application_properties(own.into_iter().chain([version]).collect(), alpn, out);
    message::write_section(section::VALUE, &Value::Null, out);
}

fn write_application_properties(
    mut entries: Vec<(Value, Value)>,
    alpn: Option<&str>,
    out: &mut BytesMut,
) {
    entries.extend(alpn.map(|alpn| (Value::from(ALPN), Value::from(alpn))));
    message::write_section(section::APPLICATION_PROPERTIES, &Value::Map(entries), out);
}

/// Fills in the header of a DATA section whose content of `len` octets follows the reserved space.
pub(crate) fn fill_data_header(space: &mut [u8], len: usize) {
    let mut header = &mut space[..DATA_HEADER];
    header.put_slice(&[0x00, 0x53, 0x75, 0xb0]);
    header.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Takes the octets of the TCP stream out of a message body.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    /// Header octets of a section that is not complete.
    header: BytesMut,
    /// Content octets left in the current DATA section.
    left: usize,
    /// A footer was seen: everything behind it is ignored.
    finished: bool,
}

impl Decoder {
    /// Decoder for the octets behind a [`StreamHead`].
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            header: BytesMut::new(),
            left: 0,
            finished: false,
        }
    }

    /// Appends the stream octets in `chunk` to `out` as slices of it.
    ///
    /// # Errors
    /// When a legacy body contains something else than DATA sections.
    pub fn decode(&mut self, mut chunk: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Malformed> {
        if self.framing == Framing::Lite {
            if !chunk.is_empty() {
                out.push_back(chunk);
            }
            return Ok(());
        }
        while !chunk.is_empty() && !self.finished {
            if self.left > 0 {
                let content = chunk.split_to(self.left.min(chunk.len()));
                self.left -= content.len();
                out.push_back(content);
                continue;
            }
            // A header is a few octets; it may be cut anywhere by frame boundaries.
            let (start, kept) = if self.header.is_empty() {
                (message::section_start(&chunk), 0)
            } else {
                let kept = self.header.len();
                self.header.extend_from_slice(&chunk[..chunk.len().min(32)]);
                (message::section_start(&self.header), kept)
            };
            match start.map_err(|_| Malformed("body section"))? {
                None => {
                    if kept == 0 {
                        self.header.extend_from_slice(&chunk);
                    }
                    return Ok(());
                }
                Some(start) if start.code == section::DATA => {
                    chunk.advance(start.header_len.saturating_sub(kept));
                    self.left = start.body_len;
                    self.header.clear();
                }
                Some(start) if start.code == section::FOOTER => self.finished = true,
                Some(_) => return Err(Malformed("body of a legacy stream is not data")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: ForwardOpener<'_> = ForwardOpener {
        to: "svc:7000",
        reply_to: "amqp:/_topo/0/RA/temp.g2O9pXWM8EW_1eQ",
        global_id: "127.0.0.1:39384@site-a",
        flow_id: "+DyyP:3",
        alpn: None,
        own: true,
    };

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("octet"))
            .collect()
    }

    #[test]
    fn the_legacy_opener_is_octet_for_octet_that_of_c_routers() {
        let recorded = hex(concat!(
            "005373d00000004f000000054040a1087376633a37303030a1163132372e302e302e313a333933383440736974652d61",
            "a125616d71703a2f5f746f706f2f302f52412f74656d702e67324f397058574d3845575f316551",
            "005374d10000001600000002a3073a666c6f776964a1072b447979503a33"
        ));
        assert_eq!(FORWARD.encode(Framing::Legacy), recorded);
    }

    #[test]
    fn the_lite_opener_ends_with_version_and_empty_body() {
        let opener = FORWARD.encode(Framing::Lite);
        assert!(opener.ends_with(&hex(
            "005374d10000001300000004a107736b757070657241a101565201 00537740"
        )));
        let head = StreamHead::parse(&opener, false)
            .expect("valid")
            .expect("complete");
        assert_eq!(
            (head.framing, head.len, head.flow_id.as_deref()),
            (Framing::Lite, opener.len(), Some("+DyyP:3"))
        );
        assert_eq!(head.properties.reply_to.as_deref(), Some(FORWARD.reply_to));
    }

    #[test]
    fn the_negotiated_protocol_travels_behind_the_mandatory_property() {
        let opener = ForwardOpener {
            alpn: Some("h2"),
            ..FORWARD
        };
        let lite = opener.encode(Framing::Lite);
        assert!(lite.ends_with(&hex(
            "005374d10000001d00000006a107736b757070657241a101565201a104616c706ea1026832 00537740"
        )));
        for framing in [Framing::Legacy, Framing::Lite] {
            let octets = opener.encode(framing);
            let head = StreamHead::parse(&octets, false)
                .expect("valid")
                .expect("complete");
            assert_eq!(head.alpn.as_deref(), Some("h2"), "{framing:?}");
            assert_eq!(head.flow_id.as_deref(), Some("+DyyP:3"), "{framing:?}");
        }
        for unusable in ["", &"x".repeat(256)] {
            let octets = ForwardOpener {
                alpn: Some(unusable),
                ..FORWARD
            }
            .encode(Framing::Lite);
            let head = StreamHead::parse(&octets, false)
                .expect("valid")
                .expect("complete");
            assert_eq!(head.alpn, None);
        }
    }

    #[test]
    fn heads_are_found_whatever_follows_and_never_too_early() {
        for framing in [Framing::Legacy, Framing::Lite] {
            let opener = FORWARD.encode(framing);
            for cut in 0..opener.len() {
                assert_eq!(
                    StreamHead::parse(&opener[..cut], false),
                    Ok(None),
                    "{framing:?} cut at {cut}"
                );
            }
            // Raw octets that look like a section stay payload.
            let octets = [&opener[..], &hex("005375a003616263")].concat();
            let head = StreamHead::parse(&octets, false)
                .expect("valid")
                .expect("complete");
            assert_eq!((head.framing, head.len), (framing, opener.len()));
        }
    }

    #[test]
    fn messages_of_http_adaptors_are_told_from_tcp_openers() {
        let tcp = |octets: &[u8]| {
            StreamHead::parse(octets, false)
                .expect("valid")
                .expect("complete")
                .tcp
        };
        for framing in [Framing::Legacy, Framing::Lite] {
            assert!(tcp(&FORWARD.encode(framing)), "{framing:?}");
        }
        // HTTP/2: the header fields are application properties.
        let properties = Properties {
            to: Some("svc:80".into()),
            subject: Some("GET".into()),
            reply_to: Some(FORWARD.reply_to.into()),
            ..Properties::default()
        };
        let mut http2 = BytesMut::new();
        properties.encode(&mut http2, 5);
        let fields = [(":flowid", "a:1"), (":method", "GET")];
        let fields = fields.map(|(key, value)| (Value::from(key), Value::from(value)));
        message::write_section(
            section::APPLICATION_PROPERTIES,
            &Value::Map(fields.to_vec()),
            &mut http2,
        );
        assert!(!tcp(&http2));
        // HTTP/1: requests are correlated.
        let mut http1 = BytesMut::new();
        Properties {
            correlation_id: Value::Ulong(1),
            ..properties
        }
        .encode(&mut http1, 6);
        write_flow_id("a:1", None, &mut http1);
        assert!(!tcp(&http1));
    }

    #[test]
    fn legacy_sections_are_decoded_however_they_are_cut() {
        let mut body = BytesMut::new();
        for content in [&b"hello"[..], b"", b"world"] {
            message::write_data_header(content.len(), &mut body);
            body.extend_from_slice(content);
        }
        let mut long = vec![0_u8; DATA_HEADER];
        fill_data_header(&mut long, 300);
        body.extend_from_slice(&long);
        body.extend_from_slice(&[7; 300]);
        let body = body.freeze();
        for size in 1..body.len() {
            let mut decoder = Decoder::new(Framing::Legacy);
            let mut out = VecDeque::new();
            for chunk in body.chunks(size) {
                decoder
                    .decode(Bytes::copy_from_slice(chunk), &mut out)
                    .expect("valid");
            }
            let decoded: Vec<u8> = out.iter().flatten().copied().collect();
            assert_eq!(
                decoded,
                [&b"helloworld"[..], &[7; 300]].concat(),
                "chunks of {size}"
            );
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        let mut value = BytesMut::new();
        message::write_section(section::VALUE, &Value::Null, &mut value);
        let mut out = VecDeque::new();
        assert!(
            Decoder::new(Framing::Legacy)
                .decode(value.freeze(), &mut out)
                .is_err()
        );
        let mut properties = BytesMut::new();
        Properties {
            content_type: Some("text/plain".into()),
            ..Properties::default()
        }
        .encode(&mut properties, 0);
        properties.extend_from_slice(&FORWARD.encode(Framing::Legacy));
        assert!(StreamHead::parse(&properties, false).is_err());
    }
}
