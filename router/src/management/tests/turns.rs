//! Tables in turns and pages.

use super::*;

#[test]
fn pages_are_cut_out_of_the_rows() {
    let identities = |offset, count| -> Vec<String> {
        let rows = results(&query("connection", &["identity"], offset, count)).1;
        rows.iter()
            .map(|row| row.as_list().unwrap()[0].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(identities(0, 0), ["1", "2", "3"]);
    assert_eq!(identities(0, 2), ["1", "2"]);
    assert_eq!(identities(2, 2), ["3"]);
    assert!(identities(3, 2).is_empty());
    assert!(identities(u64::MAX / 2, 2).is_empty());
}

/// A router with many links; `made` counts the rows made of them.
fn with_links(links: u32, made: &'static AtomicUsize) -> Router {
    Router {
        connections: 1,
        links: Some((links, made)),
    }
}

fn begun(request: &Message, router: &Router) -> Query {
    match handle(request, router, Access::Read) {
        Some(Handled::Query(query)) => *query,
        other => panic!("{other:?}"),
    }
}

fn result_rows(request: &Message, query: Query, router: &Router) -> Vec<Value> {
    let (_, _, body) = over_the_wire(request, &whole(query, router));
    body.get("results").unwrap().as_list().unwrap().to_vec()
}

#[test]
fn a_turn_makes_no_more_rows_than_it_may() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 0, 0);
    let mut query = begun(&request, &router);
    let mut turns = 1;
    while !query.turn(&router, 256, 1 << 20) {
        assert!(MADE.load(Ordering::Relaxed) <= turns * 256);
        turns += 1;
    }
    assert_eq!((turns, MADE.load(Ordering::Relaxed)), (40, 10_000));
    assert_eq!(result_rows(&request, query, &router).len(), 10_000);
}

#[test]
fn no_rows_are_made_of_what_is_before_a_page() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 9_000, 100);
    let rows = result_rows(&request, begun(&request, &router), &router);
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[0], list([Value::from("9000")]));
    assert!(MADE.load(Ordering::Relaxed) <= 102);
}

#[test]
fn an_answer_that_would_be_too_large_is_refused() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 0, 0);
    let mut query = begun(&request, &router);
    while !query.turn(&router, 256, 10_000) {}
    assert!(MADE.load(Ordering::Relaxed) < 2_000);
    let answer = Message::decode(&query.answer().message.concat().into()).unwrap();
    let (status, description, body) = over_the_wire(&request, &answer);
    assert_eq!(status, 400);
    assert!(description.contains("count and offset"), "{description}");
    assert_eq!(body, Value::Map(Vec::new()));
}
