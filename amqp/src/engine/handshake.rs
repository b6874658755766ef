use std::net::IpAddr;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Connection;
use super::config::{ClientSasl, Password, ServerSasl};
use super::error::ConnectionError;
use super::event::Event;
use crate::frame::{self, ProtocolHeader};
use crate::sasl::{ANONYMOUS, EXTERNAL, OutcomeCode, PLAIN, SaslFrame};
use crate::types::Symbol;

/// What is expected next from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Server: the SASL header, or the AMQP one.
    FirstHeader,
    /// Server: sasl-init.
    SaslInit,
    /// Server: the credentials of PLAIN, which were not in the init.
    SaslResponse,
    /// Client: the SASL header.
    SaslHeader,
    /// Client: sasl-mechanisms.
    SaslMechanisms,
    /// Client: sasl-outcome, or challenges before it.
    SaslOutcome,
    AmqpHeader,
    Frames,
    /// Nothing: the connection failed.
    Dead,
}

impl Phase {
    /// No AMQP header may be sent yet.
    pub(super) fn is_before_amqp(self) -> bool {
        !matches!(self, Self::AmqpHeader | Self::Frames | Self::Dead)
    }
}

#[derive(Debug)]
pub(super) enum Sasl {
    Client(ClientSasl),
    Server(ServerSasl),
}

impl Connection {
    pub(super) fn start_client(&mut self) {
        if matches!(self.sasl, Sasl::Client(ClientSasl::None)) {
            self.phase = Phase::AmqpHeader;
            self.open(None);
        } else {
            self.write_header(ProtocolHeader::Sasl);
        }
    }

    /// A protocol header arrived.
    pub(super) fn on_header(
        &mut self,
        octets: [u8; ProtocolHeader::LEN],
    ) -> Result<(), ConnectionError> {
        let header = ProtocolHeader::parse(octets);
        match (self.phase, header) {
            (Phase::FirstHeader, _) => self.on_first_header(header, octets),
            (Phase::SaslHeader, Some(ProtocolHeader::Sasl)) => {
                self.phase = Phase::SaslMechanisms;
                Ok(())
            }
            (Phase::SaslHeader, Some(ProtocolHeader::Amqp)) => Err(ConnectionError::SaslRequired),
            (Phase::AmqpHeader, Some(ProtocolHeader::Amqp)) => {
                self.phase = Phase::Frames;
                self.write_amqp_header();
                Ok(())
            }
            (Phase::AmqpHeader, Some(ProtocolHeader::Sasl)) => {
                // In place of a Close, which the peer would not expect.
                self.phase = Phase::Dead;
                Err(ConnectionError::SaslUnexpected)
            }
            _ => {
                self.phase = Phase::Dead;
                Err(ConnectionError::UnknownProtocol(octets))
            }
        }
    }

    /// §2.2: what is not accepted is answered by the header that would be.
    fn on_first_header(
        &mut self,
        header: Option<ProtocolHeader>,
        octets: [u8; ProtocolHeader::LEN],
    ) -> Result<(), ConnectionError> {
        let Sasl::Server(sasl) = &self.sasl else {
            return Err(ConnectionError::UnknownProtocol(octets));
        };
        match header {
            Some(ProtocolHeader::Sasl) => {
                let mechanisms = sasl.mechanisms.clone();
                self.write_header(ProtocolHeader::Sasl);
                self.write_sasl(&SaslFrame::Mechanisms(mechanisms));
                self.phase = Phase::SaslInit;
                Ok(())
            }
            Some(ProtocolHeader::Amqp) if !sasl.required => {
                self.phase = Phase::Frames;
                self.write_amqp_header();
                self.open_if_wanted();
                Ok(())
            }
            Some(ProtocolHeader::Amqp) => {
                self.write_header(ProtocolHeader::Sasl);
                Err(ConnectionError::SaslRequired)
            }
            _ => {
                let accepted = if sasl.required {
                    ProtocolHeader::Sasl
                } else {
                    ProtocolHeader::Amqp
                };
                self.write_header(accepted);
                Err(ConnectionError::UnknownProtocol(octets))
            }
        }
    }

    /// A frame of the SASL layer arrived.
    pub(super) fn on_sasl_frame(&mut self, body: &[u8]) -> Result<(), ConnectionError> {
        let frame = SaslFrame::decode(body).map_err(ConnectionError::SaslFrame)?;
        match (self.phase, frame) {
            (Phase::SaslMechanisms, SaslFrame::Mechanisms(offered)) => self.on_mechanisms(offered),
            (Phase::SaslOutcome, SaslFrame::Challenge(_)) => self.on_challenge(),
            (Phase::SaslOutcome, SaslFrame::Outcome { code, .. }) => self.on_outcome(code),
            (
                Phase::SaslInit,
                SaslFrame::Init {
                    mechanism,
                    initial_response,
                    ..
                },
            ) => self.on_init(&mechanism, initial_response.as_deref()),
            (Phase::SaslResponse, SaslFrame::Response(response)) => {
                let identity = self.check_plain(&response);
                self.conclude(identity)
            }
            _ => Err(ConnectionError::SaslSequence),
        }
    }

    fn on_mechanisms(&mut self, offered: Vec<Symbol>) -> Result<(), ConnectionError> {
        let Sasl::Client(sasl) = &self.sasl else {
            return Err(ConnectionError::SaslSequence);
        };
        let Some((mechanism, response)) = choose(sasl, &offered) else {
            return Err(ConnectionError::NoMechanism(offered));
        };
        // Servers use it to find a user's realm; an address is no name.
        let hostname = self
            .config
            .open
            .hostname
            .clone()
            .filter(|host| host.parse::<IpAddr>().is_err());
        self.mechanism = Some(mechanism.clone());
        self.write_sasl(&SaslFrame::Init {
            mechanism,
            initial_response: Some(response),
            hostname,
        });
        self.phase = Phase::SaslOutcome;
        Ok(())
    }

    /// None of the three mechanisms has challenges, but an empty one may ask for the response once more.
    fn on_challenge(&mut self) -> Result<(), ConnectionError> {
        let Sasl::Client(sasl) = &mut self.sasl else {
            return Err(ConnectionError::SaslSequence);
        };
        let mechanism = self.mechanism.as_slice();
        let (_, response) = choose(sasl, mechanism).ok_or(ConnectionError::SaslSequence)?;
        // A second challenge finds no configuration to answer from.
        *sasl = ClientSasl::None;
        self.write_sasl(&SaslFrame::Response(response));
        Ok(())
    }

    fn on_outcome(&mut self, code: OutcomeCode) -> Result<(), ConnectionError> {
        if code != OutcomeCode::Ok {
            return Err(ConnectionError::Authentication(code));
        }
        self.sasl = Sasl::Client(ClientSasl::None);
        self.phase = Phase::AmqpHeader;
        self.events.push_back(Event::Authenticated);
        self.open(None);
        Ok(())
    }

    fn on_init(
        &mut self,
        mechanism: &Symbol,
        response: Option<&[u8]>,
    ) -> Result<(), ConnectionError> {
        let Sasl::Server(sasl) = &self.sasl else {
            return Err(ConnectionError::SaslSequence);
        };
        let offered = sasl.mechanisms.contains(mechanism);
        self.mechanism = Some(mechanism.clone());
        let identity = if !offered {
            None
        } else if *mechanism == EXTERNAL {
            sasl.external_identity.clone()
        } else if *mechanism == ANONYMOUS {
            Some("anonymous".to_owned())
        } else if *mechanism == PLAIN {
            let Some(response) = response else {
                self.write_sasl(&SaslFrame::Challenge(Bytes::new()));
                self.phase = Phase::SaslResponse;
                return Ok(());
            };
            self.check_plain(response)
        } else {
            None
        };
        self.conclude(identity)
    }

    /// The user of a PLAIN response, `[authorize-id] NUL user NUL password`, if the password is right.
    fn check_plain(&self, response: &[u8]) -> Option<String> {
        let Sasl::Server(ServerSasl {
            plain: Some(check), ..
        }) = &self.sasl
        else {
            return None;
        };
        let mut parts = str::from_utf8(response).ok()?.splitn(3, '\0').skip(1);
        let (user, password) = (parts.next()?, parts.next()?);
        check(user, password).then(|| user.to_owned())
    }

    fn conclude(&mut self, identity: Option<String>) -> Result<(), ConnectionError> {
        let code = if identity.is_some() {
            OutcomeCode::Ok
        } else {
            OutcomeCode::Auth
        };
        self.write_sasl(&SaslFrame::Outcome {
            code,
            additional_data: None,
        });
        if identity.is_none() {
            return Err(ConnectionError::Authentication(code));
        }
        self.identity = identity;
        self.phase = Phase::AmqpHeader;
        self.events.push_back(Event::Authenticated);
        self.open_if_wanted();
        Ok(())
    }

    fn open_if_wanted(&mut self) {
        if self.open_wanted {
            self.open(None);
        }
    }

    /// A peer may wait for the header before it sends its Open (§2.2).
    pub(super) fn write_amqp_header(&mut self) {
        if !self.header_sent {
            self.header_sent = true;
            self.write_header(ProtocolHeader::Amqp);
        }
    }

    fn write_header(&mut self, header: ProtocolHeader) {
        self.transmit.tail().put_slice(&header.octets());
    }

    fn write_sasl(&mut self, sasl: &SaslFrame) {
        let out = self.transmit.tail();
        let at = frame::start(frame::TYPE_SASL, 0, out);
        sasl.encode(out);
        frame::finish(at, 0, out);
    }
}

/// The mechanism to use out of those offered, and its response.
fn choose(sasl: &ClientSasl, offered: &[Symbol]) -> Option<(Symbol, Bytes)> {
    let external = || {
        offered
            .contains(&EXTERNAL)
            .then(|| (EXTERNAL, Bytes::new()))
    };
    let anonymous = |trace: &str| {
        let response = || (ANONYMOUS, Bytes::copy_from_slice(trace.as_bytes()));
        offered.contains(&ANONYMOUS).then(response)
    };
    let plain = |user: &str, password: &Password| {
        offered
            .contains(&PLAIN)
            .then(|| (PLAIN, plain_response(user, password)))
    };
    match sasl {
        ClientSasl::None => None,
        ClientSasl::External => external(),
        ClientSasl::Anonymous { trace } => anonymous(trace),
        ClientSasl::Plain { user, password } => plain(user, password),
        ClientSasl::Auto {
            external_available,
            plain: credentials,
        } => external_available
            .then(external)
            .flatten()
            .or_else(|| {
                credentials
                    .as_ref()
                    .and_then(|(user, password)| plain(user, password))
            })
            .or_else(|| anonymous("anonymous")),
    }
}

fn plain_response(user: &str, password: &Password) -> Bytes {
    let mut response = BytesMut::with_capacity(user.len() + password.reveal().len() + 2);
    response.put_u8(0);
    response.put_slice(user.as_bytes());
    response.put_u8(0);
    response.put_slice(password.reveal().as_bytes());
    response.freeze()
}
