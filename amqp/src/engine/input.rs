use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};

use super::Connection;
use super::error::{ConnectionError, FRAMING_ERROR, LIMIT_EXCEEDED, NOT_ALLOWED};
use super::event::Event;
use super::handshake::Phase;
use crate::codec::DecodeError;
use crate::frame::{self, FrameHeader, MIN_MAX_FRAME_SIZE, ProtocolHeader};
use crate::performative::{Close, Open, Performative};

/// Octets of the largest SASL frame accepted. The standard has 512 (§5.3.1); certificate chains and tickets of other
/// mechanisms need more, but those are not offered here.
const SASL_FRAME_LIMIT: u32 = 4096;

/// Octets reserved at most for the rest of a frame before it arrives.
const RESERVE_LIMIT: usize = 1 << 20;

/// More octets than this waiting to be sent means that the peer makes us answer, and does not read.
const BACKLOG_LIMIT: usize = 16 << 20;

impl Connection {
    /// Consumes whole frames from the front of `input` and leaves a partial one, for whose rest it reserves capacity.
    /// Payloads in events share the memory of `input`.
    ///
    /// Call it when octets were appended. With [`EVENT_LIMIT`](Self::EVENT_LIMIT) events waiting it stops early: take
    /// the events and call again while `input` gets shorter.
    ///
    /// # Errors
    /// The connection is over; send what [`transmit`](Self::transmit) holds and drop the transport.
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), ConnectionError> {
        if self.events.is_empty() {
            self.reap();
        }
        self.timer.received(input.len(), now);
        let result = self.consume(input);
        if let Err(error) = &result {
            self.fail(error);
            input.clear();
        }
        self.timer.left_over(input.len());
        result
    }

    fn consume(&mut self, input: &mut BytesMut) -> Result<(), ConnectionError> {
        while self.events.len() < Self::EVENT_LIMIT {
            let progress = match self.phase {
                Phase::Dead => {
                    input.clear();
                    return Ok(());
                }
                Phase::FirstHeader | Phase::SaslHeader | Phase::AmqpHeader => {
                    self.consume_header(input)?
                }
                Phase::SaslInit
                | Phase::SaslResponse
                | Phase::SaslMechanisms
                | Phase::SaslOutcome => self.consume_sasl(input)?,
                Phase::Frames => self.consume_frame(input)?,
            };
            if !progress {
                break;
            }
            if self.backlog() > BACKLOG_LIMIT {
                return Err(ConnectionError::protocol(
                    LIMIT_EXCEEDED,
                    "peer does not read what it asks for",
                ));
            }
        }
        Ok(())
    }

    fn consume_header(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let Some(octets) = input.first_chunk().copied() else {
            return Ok(false);
        };
        self.on_header(octets)?;
        input.advance(ProtocolHeader::LEN);
        Ok(true)
    }

    fn consume_sasl(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let Some(header) = whole_frame(input, SASL_FRAME_LIMIT)? else {
            return Ok(false);
        };
        if header.kind != frame::TYPE_SASL {
            return Err(ConnectionError::SaslSequence);
        }
        let frame = input.split_to(header.size as usize);
        self.on_sasl_frame(&frame[header.body_at..])?;
        Ok(true)
    }

    fn consume_frame(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let Some(header) = whole_frame(input, self.receive_limit)? else {
            return Ok(false);
        };
        if header.kind != frame::TYPE_AMQP {
            return Err(ConnectionError::protocol(
                FRAMING_ERROR,
                "unexpected frame type",
            ));
        }
        let size = header.size as usize;
        if header.body_at == size {
            input.advance(size);
            return Ok(true);
        }
        let (performative, len) = Performative::decode_slice(&input[header.body_at..size])
            .map_err(|error| match error {
                // The frame is whole, there is nothing more to come.
                DecodeError::Incomplete => DecodeError::InvalidFrame,
                error => error,
            })?;
        input.advance(header.body_at + len);
        let payload_len = size - header.body_at - len;
        let payload = if payload_len == 0 {
            Bytes::new()
        } else {
            input.split_to(payload_len).freeze()
        };
        self.on_frame(header.channel, performative, payload)?;
        Ok(true)
    }

    fn on_frame(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: Bytes,
    ) -> Result<(), ConnectionError> {
        if self.close_received {
            return Ok(());
        }
        match performative {
            Performative::Open(open) => return self.on_open(open),
            _ if self.remote_open.is_none() => {
                return Err(ConnectionError::protocol(
                    FRAMING_ERROR,
                    "frame before open",
                ));
            }
            Performative::Close(close) => return self.on_close(close),
            // After the local Close everything but the peer's is discarded (§2.4.6).
            _ if self.close_sent => return Ok(()),
            _ if channel > self.config.open.channel_max => {
                return Err(ConnectionError::protocol(
                    FRAMING_ERROR,
                    "channel above channel-max",
                ));
            }
            Performative::Begin(begin) => return self.on_begin(channel, &begin),
            _ => {}
        }
        let Some(session) = self.channels.get(channel.into()) else {
            return Err(ConnectionError::protocol(
                NOT_ALLOWED,
                format!("no session on channel {channel}"),
            ));
        };
        if let Performative::End(end) = performative {
            self.on_end(session, end);
            return Ok(());
        }
        // After the local End everything but the peer's is discarded (§2.5.5).
        if self.sessions[session as usize].end_sent {
            return Ok(());
        }
        match performative {
            Performative::Attach(attach) => self.on_attach(session, attach),
            Performative::Flow(flow) => self.on_flow(session, &flow),
            Performative::Transfer(transfer) => self.on_transfer(session, transfer, payload),
            Performative::Disposition(disposition) => {
                self.on_disposition(session, &disposition);
                Ok(())
            }
            Performative::Detach(detach) => self.on_detach(session, detach),
            Performative::Open(_)
            | Performative::Begin(_)
            | Performative::End(_)
            | Performative::Close(_) => Ok(()),
        }
    }

    fn on_open(&mut self, open: Box<Open>) -> Result<(), ConnectionError> {
        if self.remote_open.is_some() {
            return Err(ConnectionError::protocol(NOT_ALLOWED, "second open"));
        }
        self.transmit_limit = self
            .transmit_limit
            .min(open.max_frame_size.max(MIN_MAX_FRAME_SIZE));
        self.timer.set_keep_alive(open.idle_time_out);
        self.remote_open = Some(open);
        self.events.push_back(Event::Opened);
        Ok(())
    }

    fn on_close(&mut self, close: Close) -> Result<(), ConnectionError> {
        self.close_received = true;
        self.close(None);
        self.events.push_back(Event::Closed { error: close.error });
        Ok(())
    }
}

/// The header of the frame at the front, if all of the frame is there.
fn whole_frame(input: &mut BytesMut, limit: u32) -> Result<Option<FrameHeader>, ConnectionError> {
    let header = match FrameHeader::parse(input) {
        Ok(header) => header,
        Err(DecodeError::Incomplete) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if header.size > limit {
        let description = format!("frame of {} octets, accepted are {limit}", header.size);
        return Err(ConnectionError::protocol(FRAMING_ERROR, description));
    }
    let missing = (header.size as usize).saturating_sub(input.len());
    if missing > 0 {
        input.reserve(missing.min(RESERVE_LIMIT));
        return Ok(None);
    }
    Ok(Some(header))
}
