use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

/// Octets to be sent, in order: what the engine writes, and slices of message bodies that are never copied.
///
/// Read it as [`Buf`]: write [`chunks_vectored`](Buf::chunks_vectored) to the socket, then
/// [`advance`](Buf::advance) by what was taken.
#[derive(Debug, Default)]
pub struct Transmit {
    segments: VecDeque<Bytes>,
    /// Octets in `segments`.
    queued: usize,
    /// What comes after all segments.
    tail: BytesMut,
}

impl Transmit {
    /// Bodies up to so many octets are copied behind their header: cheaper than another segment.
    const COPY_UP_TO: usize = 256;
    /// Octets reserved at a time for headers and control frames.
    const TAIL_RESERVE: usize = 4096;

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Where the engine writes.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() - self.tail.len() < 512 {
            self.tail.reserve(Self::TAIL_RESERVE);
        }
        &mut self.tail
    }

    /// Moves `len` octets of `body`, which has as many, behind what is queued.
    pub(super) fn append(&mut self, body: &mut VecDeque<Bytes>, len: usize) {
        if len <= Self::COPY_UP_TO {
            self.take(body, len, |transmit, part| transmit.tail().put_slice(&part));
            return;
        }
        self.seal();
        self.take(body, len, |transmit, part| {
            transmit.queued += part.len();
            transmit.segments.push_back(part);
        });
    }

    fn take(
        &mut self,
        body: &mut VecDeque<Bytes>,
        mut len: usize,
        mut put: impl FnMut(&mut Self, Bytes),
    ) {
        while len > 0 {
            let Some(front) = body.front_mut() else { break };
            let part = if front.len() <= len {
                body.pop_front().unwrap_or_default()
            } else {
                front.split_to(len)
            };
            len -= part.len();
            if !part.is_empty() {
                put(self, part);
            }
        }
    }

    pub(super) fn trim(&mut self) {
        super::trim::trim_queue(&mut self.segments);
        if self.tail.is_empty() {
            self.tail = BytesMut::new();
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.queued += self.tail.len();
            self.segments.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.queued + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        match self.segments.front() {
            Some(segment) => segment,
            None => &self.tail,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self
            .segments
            .iter()
            .map(|segment| &segment[..])
            .chain([&self.tail[..]]);
        let mut filled = 0;
        for (slice, chunk) in slices
            .iter_mut()
            .zip(chunks.filter(|chunk| !chunk.is_empty()))
        {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(
            count <= self.remaining(),
            "advance past the end of the transmit queue"
        );
        while let Some(front) = self.segments.front_mut() {
            if count < front.len() {
                front.advance(count);
                self.queued -= count;
                return;
            }
            count -= front.len();
            self.queued -= front.len();
            self.segments.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn vectored(transmit: &Transmit) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = transmit.chunks_vectored(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    proptest! {
        #[test]
        fn octets_come_out_in_order(
            steps in vec((0..40usize, vec(0..700usize, 0..4), 0..1500usize), 0..20),
        ) {
            let mut transmit = Transmit::default();
            let mut expected: Vec<u8> = Vec::new();
            let mut counter = 0u8;
            let mut octets = |len: usize| -> Vec<u8> {
                (0..len).map(|_| { counter = counter.wrapping_add(1); counter }).collect()
            };
            for (header, parts, taken) in steps {
                let header = octets(header);
                transmit.tail().put_slice(&header);
                expected.extend(header);
                let mut body: VecDeque<Bytes> = parts.into_iter().map(|len| Bytes::from(octets(len))).collect();
                let len = body.iter().map(Bytes::len).sum();
                for part in &body {
                    expected.extend_from_slice(part);
                }
                transmit.append(&mut body, len);
                prop_assert!(body.iter().all(Bytes::is_empty));
                prop_assert_eq!(transmit.remaining(), expected.len());
                prop_assert_eq!(&vectored(&transmit), &expected);
                prop_assert_eq!(transmit.chunk().is_empty(), expected.is_empty());
                let taken = taken.min(expected.len());
                transmit.advance(taken);
                expected.drain(..taken);
            }
            let rest = transmit.copy_to_bytes(transmit.remaining());
            prop_assert_eq!(&rest[..], &expected[..]);
            prop_assert!(transmit.is_empty());
        }
    }

    #[test]
    fn a_part_of_a_body_is_split_off() {
        let mut transmit = Transmit::default();
        let mut body = VecDeque::from([Bytes::from(vec![1; 300]), Bytes::from(vec![2; 300])]);
        transmit.append(&mut body, 400);
        assert_eq!(body, [Bytes::from(vec![2; 200])]);
        transmit.append(&mut body, 10);
        assert_eq!(body, [Bytes::from(vec![2; 190])]);
        assert_eq!(transmit.remaining(), 410);
        // Few slices are filled as far as they go.
        let mut slices = [IoSlice::new(&[]); 1];
        assert_eq!(transmit.chunks_vectored(&mut slices), 1);
        assert_eq!(slices[0].len(), 300);
    }

    #[test]
    #[should_panic(expected = "advance past the end")]
    fn no_more_can_be_taken_than_there_is() {
        Transmit::default().advance(1);
    }
}
