use std::collections::VecDeque;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::Connection;
use super::connection::key;
use super::delivery::{Delivery, LastFrame};
use super::error::EngineError;
use super::event::{DeliveryKey, LinkId, Sent};
use super::session::channel_of;
use crate::codec::write_uint;
use crate::frame;
use crate::performative::{DeliveryTag, Role};

impl Connection {
    /// Starts a delivery; it takes one credit. `settled`: the receiver need not answer, and the key is gone when the
    /// delivery is complete.
    ///
    /// Deliveries of one link follow each other, those of different links may be sent interleaved (§2.6.14).
    ///
    /// # Errors
    /// Nothing can be sent on the link now.
    pub fn start_delivery(
        &mut self,
        link: LinkId,
        tag: &[u8],
        settled: bool,
    ) -> Result<DeliveryKey, EngineError> {
        if self.close_sent {
            return Err(EngineError::Closed);
        }
        let entry = self
            .links
            .get_mut(link.0 as usize)
            .ok_or(EngineError::NotAttached)?;
        let session = self
            .sessions
            .get(entry.session as usize)
            .ok_or(EngineError::NoSession)?;
        if entry.role != Role::Sender {
            return Err(EngineError::NotSender);
        }
        if !entry.is_attached() || !session.is_open() {
            return Err(EngineError::NotAttached);
        }
        if entry.current.is_some() {
            return Err(EngineError::DeliveryInProgress);
        }
        if entry.credit == 0 {
            return Err(EngineError::NoCredit);
        }
        if !settled && session.outgoing.len() >= self.config.max_unsettled as usize {
            return Err(EngineError::TooManyUnsettled);
        }
        let delivery = Delivery {
            session: entry.session,
            link: link.0,
            role: Role::Sender,
            id: 0,
            tag: DeliveryTag::new(tag).ok_or(EngineError::TagTooLong)?,
            started: false,
            complete: false,
            settled_locally: settled,
            settled_remotely: false,
            dead: false,
            buried: false,
            last_frame: None,
            state: None,
        };
        let delivery = key(self.deliveries.insert(delivery));
        entry.current = Some(delivery);
        entry.reserved = 1;
        Ok(DeliveryKey(delivery))
    }

    /// Frames as much of `body` as the session window and `budget`, the octets of the transmit queue, allow, and
    /// takes it out of `body`.
    ///
    /// With `end`, `body` is the rest of the message, and the last frame says so; an empty one if need be. The body
    /// of a delivery that is gone is discarded.
    pub fn send(
        &mut self,
        delivery: DeliveryKey,
        body: &mut VecDeque<Bytes>,
        end: bool,
        budget: usize,
    ) -> Sent {
        let Some((mut header, session)) = self.outgoing(delivery.0) else {
            body.clear();
            return Sent::All;
        };
        let mut left: usize = body.iter().map(Bytes::len).sum();
        loop {
            if left == 0 && !end {
                body.clear();
                return Sent::All;
            }
            let window = &mut self.sessions[session as usize];
            if window.remote_window == 0 {
                window.blocked = true;
                return Sent::WindowClosed;
            }
            if self.transmit.remaining() >= budget {
                return Sent::Budget;
            }
            if !self.deliveries[delivery.0 as usize].started {
                self.launch(delivery.0, &mut header);
            }
            let frame_limit = self.transmit_limit as usize;
            header.more = false;
            let last = end && left <= frame_limit - header.len();
            header.more = !last;
            let len = left.min(frame_limit - header.len());
            header.write(len, self.transmit.tail());
            header.state = None;
            self.transmit.append(body, len);
            left -= len;
            self.count_frame(session);
            if last {
                body.clear();
                self.complete(delivery.0);
                return Sent::All;
            }
        }
    }

    /// Gives a delivery up: the receiver forgets what it got. The key is gone.
    pub fn abort(&mut self, delivery: DeliveryKey) {
        self.finish(delivery, LastFrame::Aborted);
    }

    /// Ends a delivery with an empty last frame that also settles it. The key is gone.
    pub fn finish_settled(&mut self, delivery: DeliveryKey) {
        self.finish(delivery, LastFrame::Settled);
    }

    fn finish(&mut self, delivery: DeliveryKey, last_frame: LastFrame) {
        let Some(entry) = self.deliveries.get_mut(delivery.0 as usize) else {
            return;
        };
        if entry.dead || entry.role != Role::Sender {
            return;
        }
        if entry.complete {
            return self.disposition(delivery, None, true);
        }
        let (session, link, started) = (entry.session, entry.link, entry.started);
        entry.dead = true;
        entry.settled_locally = true;
        entry.last_frame = Some(last_frame);
        let id = entry.id;
        let detached = self
            .links
            .get(link as usize)
            .is_none_or(|link| !link.is_attached());
        if detached || !started && last_frame == LastFrame::Aborted {
            if let Some(link) = self.links.get_mut(link as usize) {
                link.current = None;
                link.reserved = 0;
            }
            return self.drop_delivery(delivery.0);
        }
        let Some(session_entry) = self.sessions.get_mut(session as usize) else {
            return;
        };
        if started {
            session_entry.outgoing.remove(id);
        }
        session_entry.finals.push_back(delivery.0);
        self.write_finals(session);
    }

    /// Writes the last frames of deliveries that are given up, as far as the window allows.
    pub(super) fn write_finals(&mut self, session: u32) {
        while let Some(entry) = self.sessions.get_mut(session as usize)
            && entry.remote_window > 0
            && entry.is_open()
            && let Some(delivery) = entry.finals.pop_front()
        {
            let Some(entry) = self.deliveries.get(delivery as usize) else {
                continue;
            };
            let (started, aborted) = (entry.started, entry.last_frame == Some(LastFrame::Aborted));
            let Some((mut header, _)) = self.header_of(delivery) else {
                continue;
            };
            if !started {
                self.launch(delivery, &mut header);
            }
            header.aborted = aborted;
            if !self.close_sent {
                header.write(0, self.transmit.tail());
            }
            self.count_frame(session);
            self.complete(delivery);
        }
    }

    /// The frame header of a delivery that can be sent, and its session.
    fn outgoing(&self, delivery: u32) -> Option<(Header, u32)> {
        let entry = self.deliveries.get(delivery as usize)?;
        if entry.dead || entry.complete || entry.role != Role::Sender || self.close_sent {
            return None;
        }
        self.header_of(delivery)
    }

    fn header_of(&self, delivery: u32) -> Option<(Header, u32)> {
        let delivery = self.deliveries.get(delivery as usize)?;
        let link = self
            .links
            .get(delivery.link as usize)
            .filter(|link| link.is_attached())?;
        let session = self
            .sessions
            .get(delivery.session as usize)
            .filter(|session| session.is_open())?;
        debug_assert!(session.remote_channel.is_some());
        let header = Header {
            channel: channel_of(delivery.session)?,
            handle: link.handle?,
            id: delivery.wire_id(),
            tag: delivery.tag,
            settled: delivery.settled_locally,
            more: false,
            aborted: false,
            state: None,
        };
        Some((header, delivery.session))
    }

    /// Gives a delivery its id with its first frame, and that frame its state: ids must be in the order of the frames
    /// (§2.6.12).
    fn launch(&mut self, key: u32, header: &mut Header) {
        let delivery = &mut self.deliveries[key as usize];
        header.state = delivery.state.take();
        let session = &mut self.sessions[delivery.session as usize];
        delivery.started = true;
        delivery.id = session.next_delivery_id;
        session.next_delivery_id += 1;
        if !delivery.settled_locally {
            session.outgoing.push(delivery.id, key);
        }
        let link = &mut self.links[delivery.link as usize];
        link.reserved = 0;
        link.credit = link.credit.saturating_sub(1);
        link.delivery_count = link.delivery_count.wrapping_add(1);
        header.id = delivery.wire_id();
    }

    fn count_frame(&mut self, session: u32) {
        let session = &mut self.sessions[session as usize];
        session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
        session.remote_window -= 1;
    }

    /// The last frame of an outgoing delivery is written.
    fn complete(&mut self, key: u32) {
        let delivery = &mut self.deliveries[key as usize];
        delivery.complete = true;
        let settled = delivery.is_settled();
        if let Some(link) = self.links.get_mut(delivery.link as usize) {
            link.current = None;
        }
        if settled {
            self.drop_delivery(key);
        }
    }
}

/// Frame header and Transfer performative, written by hand: this is the hot path.
#[derive(Clone, Debug)]
struct Header {
    channel: u16,
    handle: u32,
    id: u32,
    tag: DeliveryTag,
    settled: bool,
    more: bool,
    aborted: bool,
    /// Encoded state; of the first frame only.
    state: Option<Box<[u8]>>,
}

impl Header {
    /// Frame header, descriptor, list constructor, size and count.
    const FIXED: usize = frame::HEADER_LEN + 6;
    /// What size and count of a long list take more.
    const LONG: usize = 6;

    fn len(&self) -> usize {
        let fields = self.fields_len();
        Self::FIXED + fields + if fields < 0xff { 0 } else { Self::LONG }
    }

    /// Fields handle, delivery-id, delivery-tag, message-format; then the flags that are needed, and the state.
    fn fields_len(&self) -> usize {
        uint_len(self.handle)
            + uint_len(self.id)
            + 2
            + self.tag.as_slice().len()
            + 1
            + self.flags().len()
            + self.state.as_ref().map_or(0, |state| state.len())
    }

    /// Fields settled, more, rcv-settle-mode; without a state also state, resume, aborted.
    fn flags(&self) -> &'static [u8] {
        match (self.settled, self.more, self.aborted) {
            (_, _, true) => &[0x41, 0x40, 0x40, 0x40, 0x40, 0x41],
            (false, false, false) if self.state.is_some() => &[0x40, 0x40, 0x40],
            (true, false, false) if self.state.is_some() => &[0x41, 0x40, 0x40],
            (false, true, false) if self.state.is_some() => &[0x40, 0x41, 0x40],
            (true, true, false) if self.state.is_some() => &[0x41, 0x41, 0x40],
            (false, false, false) => &[],
            (true, false, false) => &[0x41],
            (false, true, false) => &[0x40, 0x41],
            (true, true, false) => &[0x41, 0x41],
        }
    }

    fn write(&self, payload: usize, out: &mut BytesMut) {
        let at = frame::start(frame::TYPE_AMQP, self.channel, out);
        let flags = self.flags();
        let (fields, count) = (
            self.fields_len(),
            4 + flags.len() + usize::from(self.state.is_some()),
        );
        out.put_slice(&[0x00, 0x53, 0x14]);
        if fields < 0xff {
            out.put_slice(&[0xc0, (fields + 1).to_be_bytes()[7], count.to_be_bytes()[7]]);
        } else {
            out.put_u8(0xd0);
            out.put_slice(&(fields + 4).to_be_bytes()[4..]);
            out.put_slice(&count.to_be_bytes()[4..]);
        }
        write_uint(self.handle, out);
        write_uint(self.id, out);
        crate::codec::write_binary(self.tag.as_slice(), out);
        out.put_u8(0x43);
        out.put_slice(flags);
        if let Some(state) = &self.state {
            out.put_slice(state);
        }
        frame::finish(at, payload, out);
    }
}

fn uint_len(value: u32) -> usize {
    match value {
        0 => 1,
        1..=0xff => 2,
        _ => 5,
    }
}
