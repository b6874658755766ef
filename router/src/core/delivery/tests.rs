use std::sync::atomic::AtomicU32;

use amqp::engine::{DeliveryKey, LinkId};

use super::*;
use crate::core::{connection_message::ConnectionMessage, inbox::Inbox};

fn delivery() -> Delivery {
    Delivery::new(Annotations::default(), None, false, 4)
}

#[test]
fn what_waits_is_counted_until_it_is_taken_or_given_up() {
    let total = Arc::new(AtomicUsize::new(0));
    let counted = || delivery().counted_in(&total);
    let waiting = || total.load(Ordering::Relaxed);
    let [taken, settled, aborted, dropped] = std::array::from_fn(|_| {
        let delivery = counted();
        delivery.push(Bytes::from_static(b"1234567890"));
        delivery
    });
    taken.append(&mut VecDeque::from([Bytes::from_static(b"12345")]));
    assert_eq!(waiting(), 45);
    let first = taken.take(|chunks, _, _| chunks.pop_front());
    assert_eq!(waiting(), 35);
    taken.put_back(first.unwrap().slice(8..));
    assert_eq!(waiting(), 37);
    settled.report(Some(DeliveryState::Accepted), true);
    assert_eq!(waiting(), 27);
    aborted.abort();
    assert_eq!(waiting(), 17);
    drop(dropped);
    assert_eq!(waiting(), 7);
    drop((taken, settled, aborted));
    assert_eq!(waiting(), 0);
}

#[test]
fn what_the_sink_holds_waits_until_it_says_otherwise_or_settles() {
    let total = Arc::new(AtomicUsize::new(0));
    let waiting = || total.load(Ordering::Relaxed);
    let [written, settled, dropped] = std::array::from_fn(|_| {
        let delivery = delivery().counted_in(&total);
        delivery.push(Bytes::from_static(b"1234567890"));
        delivery.take(|chunks, _, _| chunks.clear());
        delivery.hold(10);
        delivery
    });
    assert_eq!(waiting(), 30);
    let backlog = |waiting, taken| Backlog { waiting, taken };
    assert_eq!(written.backlog(), backlog(10, 0));
    // The reader takes some: that is what counts as progress.
    written.hold(4);
    assert_eq!((written.backlog(), waiting()), (backlog(4, 6), 24));
    // It is not in the queue any more: the source does not wait for it.
    assert!(written.has_room(0));
    written.hold(0);
    assert_eq!((written.backlog(), waiting()), (backlog(0, 10), 20));
    settled.report(Some(DeliveryState::Accepted), true);
    settled.hold(10);
    assert_eq!(waiting(), 10);
    drop(dropped);
    assert_eq!(waiting(), 0);
}

fn pending(inbox: &Inbox<ConnectionMessage>) -> usize {
    inbox.close().len()
}

#[test]
fn what_the_sink_has_granted_is_room_beyond_the_limit() {
    let delivery = Delivery::new(Annotations::default(), None, false, 4);
    delivery.push(Bytes::from_static(&[0; 1000]));
    assert!(!delivery.has_window_room(999));
    assert!(delivery.has_window_room(1000));
    // One unit is less than the smallest window.
    delivery.report_received(1, 0);
    delivery.push(Bytes::from_static(&[0; 200_000]));
    assert!(delivery.has_window_room(1000));
    delivery.push(Bytes::from_static(&[0; 100_000]));
    assert!(!delivery.has_window_room(1000));
    // A window that is taken back counts still: what it let through may be on its way.
    delivery.report_received(8, 0);
    delivery.report_received(4, 0);
    assert!(delivery.has_window_room(1000));
}

#[test]
fn octets_pass_in_order_and_the_source_learns_of_room() {
    let delivery = delivery();
    let inbox = Arc::new(Inbox::new(8));
    delivery.set_source(Wake::Incoming(inbox.clone(), DeliveryKey(1)));
    delivery.push(Bytes::from_static(b"abc"));
    delivery.push(Bytes::from_static(b"def"));
    assert!(!delivery.has_room(5));
    let taken = delivery.take(|chunks, end, _| {
        assert_eq!(end, End::Open);
        chunks.pop_front()
    });
    assert_eq!(taken.as_deref(), Some(&b"abc"[..]));
    assert_eq!(delivery.queued(), 3);
    assert_eq!(
        pending(&inbox),
        1,
        "one wake for the room that was waited for"
    );
}

#[test]
fn a_sink_that_comes_late_is_told_at_once_and_only_once() {
    let delivery = delivery();
    delivery.push(Bytes::from_static(b"abc"));
    delivery.finish(false);
    let inbox = Arc::new(Inbox::new(8));
    delivery.set_sink(Wake::Outgoing(inbox.clone(), LinkId(3)));
    assert_eq!(pending(&inbox), 1);
}

#[test]
fn feedback_keeps_the_latest_offset_and_the_outcome() {
    let delivery = delivery();
    delivery.report_received(0, 10);
    delivery.report_received(0, 20);
    delivery.report(Some(DeliveryState::Accepted), true);
    delivery.report(Some(DeliveryState::Released), true);
    let feedback = delivery.take_feedback();
    assert_eq!(feedback.received, Some((0, 20)));
    assert_eq!(feedback.outcome, Some(DeliveryState::Accepted));
    assert!(feedback.settled);
    assert!(delivery.take_feedback().outcome.is_none());
}

#[test]
fn a_backlog_is_that_of_the_whole_way_to_the_reader() {
    let total = Arc::new(AtomicUsize::new(0));
    let first = delivery().counted_in(&total);
    let next = Arc::new(delivery().counted_with(&first));
    first.continues_in(&next);
    first.push(Bytes::from_static(b"1234567890"));
    let moved = first.take(|chunks, _, _| chunks.pop_front());
    next.push(moved.unwrap().slice(..7));
    first.push(Bytes::from_static(b"12345"));
    let backlog = |waiting, taken| Backlog { waiting, taken };
    assert_eq!(first.backlog(), backlog(12, 10));
    assert_eq!(total.load(Ordering::Relaxed), 12);
    next.take(|chunks, _, _| chunks.clear());
    assert_eq!(first.backlog(), backlog(5, 17));
    first.report(Some(DeliveryState::Accepted), true);
    assert_eq!(first.backlog(), backlog(0, 10));
}

#[test]
fn what_is_complete_and_waits_can_be_broken_off_and_what_was_taken_cannot() {
    let [waits, taken] = std::array::from_fn(|_| {
        let delivery = delivery();
        delivery.push(Bytes::from_static(b"abc"));
        delivery.finish(false);
        delivery
    });
    taken.take(|chunks, _, _| chunks.clear());
    for (delivery, expected) in [(waits, End::Aborted), (taken, End::Complete)] {
        delivery.break_off();
        let end = delivery.take(|chunks, end, _| {
            assert!(chunks.is_empty());
            end
        });
        assert_eq!(end, expected);
    }
}

#[test]
fn the_sink_is_told_of_every_state_that_it_has_not_taken() {
    let delivery = delivery();
    let inbox = Arc::new(Inbox::new(8));
    delivery.tell_state(Bytes::from_static(b"first"));
    delivery.tell_state(Bytes::from_static(b"newer"));
    assert_eq!(delivery.take_state().as_deref(), Some(&b"newer"[..]));
    delivery.set_sink(Wake::Settled(inbox.clone(), DeliveryKey(1)));
    delivery.tell_state(Bytes::from_static(b"later"));
    assert_eq!(delivery.take_state().as_deref(), Some(&b"later"[..]));
    delivery.tell_state(Bytes::from_static(b"last"));
    delivery.report(Some(DeliveryState::Accepted), true);
    delivery.tell_state(Bytes::from_static(b"too late"));
    assert_eq!(delivery.take_state().as_deref(), Some(&b"last"[..]));
    assert_eq!(pending(&inbox), 2);
}

#[test]
fn settlement_drops_what_waits_and_uncounts() {
    let counter = Arc::new(AtomicU32::new(0));
    let delivery = delivery();
    delivery.count_at(Outstanding::new(&counter));
    delivery.push(Bytes::from_static(b"abc"));
    assert_eq!(counter.load(Ordering::Relaxed), 1);
    delivery.report(Some(DeliveryState::Released), true);
    assert_eq!((counter.load(Ordering::Relaxed), delivery.queued()), (0, 0));
    delivery.push(Bytes::from_static(b"late"));
    assert_eq!(delivery.queued(), 0);
}

#[test]
fn an_abort_discards_and_stays_an_abort() {
    let delivery = delivery();
    delivery.push(Bytes::from_static(b"abc"));
    delivery.abort();
    delivery.finish(false);
    delivery.take(|chunks, end, source_settled| {
        assert!(chunks.is_empty() && source_settled);
        assert_eq!(end, End::Aborted);
    });
}
