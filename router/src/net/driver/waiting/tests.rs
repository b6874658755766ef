use super::*;

const MIB: usize = 1024 * 1024;

/// Messages, each with the octets of it that wait, the seconds since it moved, and its pace.
fn gone(messages: &[(usize, u64, u64)], waiting: usize, full: bool) -> (Vec<u32>, usize) {
    let now = Instant::now() + 2 * STUCK;
    let candidates = messages
        .iter()
        .zip(0..)
        .map(|(&(waiting, seconds, pace), key)| Candidate {
            key: DeliveryKey(key),
            waiting,
            moved: now - Duration::from_secs(seconds),
            pace,
            since: now,
        })
        .collect();
    let (doomed, left) = doomed(candidates, waiting, full, now);
    (doomed.iter().map(|key| key.0).collect(), left)
}

#[test]
fn only_what_is_stuck_for_long_goes_the_longest_first_and_no_more_than_it_takes() {
    let messages = [
        (4 * MIB, 0, 50_000),
        (4 * MIB, 11, 0),
        (4 * MIB, 15, 0),
        (SPARED, 18, 0),
        (4 * MIB, 9, 0),
        (4 * MIB, 12, 0),
    ];
    assert!(gone(&messages, WAITING_LIMIT, false).0.is_empty());
    let (keys, left) = gone(&messages, WAITING_LIMIT + 5 * MIB, false);
    assert_eq!(keys, [2, 5]);
    assert_eq!(left, WAITING_LIMIT - 3 * MIB);
    // Whatever waits, those that have moved not long ago stay until nothing could be read for some time.
    assert_eq!(gone(&messages, 3 * WAITING_LIMIT, false).0, [2, 5, 1]);
}

#[test]
fn when_nothing_can_be_read_those_that_hardly_move_go_first_then_the_slowest() {
    let messages = [
        (100 * MIB, 0, 80_000),
        (100 * MIB, 0, 20_000),
        (100 * MIB, 1, 100),
        (100 * MIB, 2, 0),
        (100 * MIB, 0, 40_000),
    ];
    let (keys, left) = gone(&messages, 500 * MIB, true);
    assert_eq!(keys, [3, 2], "those that move stay");
    assert_eq!(left, 300 * MIB);
    let (keys, left) = gone(&messages, 750 * MIB, true);
    assert_eq!(keys, [3, 2, 1], "the slowest of them too");
    assert_eq!(left, 450 * MIB);
}

#[test]
fn a_message_moves_when_octets_of_it_are_taken() {
    let start = Instant::now();
    let backlog = |waiting, taken| Backlog { waiting, taken };
    let mut progress = Progress::new(backlog(100, u64::MAX), start);
    let mut now = start;
    let mut note = |waiting, taken| {
        now += PERIOD;
        progress.note(backlog(waiting, taken), now);
        (now - progress.moved, progress.pace)
    };
    assert_eq!(note(100, u64::MAX), (PERIOD, 0));
    assert_eq!(note(90, 9), (Duration::ZERO, 10), "the count wraps");
    let mut last = (Duration::ZERO, 10);
    for _ in 0..10 {
        let next = note(90, 9);
        assert_eq!(next.0, last.0 + PERIOD);
        assert!(next.1 < last.1 || next.1 == 0, "the past fades");
        last = next;
    }
    assert_eq!(last.1, 0);
    assert_eq!(
        note(0, 9).0,
        Duration::ZERO,
        "nothing waits: nobody is stuck"
    );
}

#[test]
fn a_message_is_as_slow_as_its_slowest_reader() {
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::core::{annotations::Annotations, delivery::Delivery};

    let branch = |octets: usize| {
        let delivery = Delivery::new(Annotations::default(), None, false, 4);
        delivery.push(Bytes::from(vec![0; octets]));
        Branch {
            delivery: Arc::new(delivery),
            outcome: None,
            settled: false,
        }
    };
    assert_eq!(backlog(&[branch(5), branch(70), branch(0)]).waiting, 70);
    assert_eq!(backlog(&[]), Backlog::default());
}

#[test]
fn what_waits_elsewhere_counts_until_it_is_dropped() {
    let waiting = Arc::new(AtomicUsize::new(5));
    let mut count = Count::new(&waiting, 10);
    count.add(3);
    assert_eq!(waiting.load(Ordering::Relaxed), 18);
    drop(count);
    assert_eq!(waiting.load(Ordering::Relaxed), 5);
}
