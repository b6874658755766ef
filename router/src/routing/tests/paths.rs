//! Shortest paths and valid origins against a plain computation of the rules.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::super::RouterId;
use super::super::path::{BitSet, RouterSet, Topology};
use super::id;

type States = BTreeMap<RouterId, BTreeMap<RouterId, u32>>;

fn states(edges: &[(&str, &str, u32)]) -> States {
    let mut states = States::new();
    for (a, b, cost) in edges {
        states.entry(id(a)).or_default().insert(id(b), *cost);
        states.entry(id(b)).or_default().insert(id(a), *cost);
    }
    states
}

fn topology(states: &States, me: &str) -> Topology {
    let own = &states[me];
    Topology::new((&id(me), own), states.iter())
}

/// Predecessors by the rules, without any cleverness.
fn predecessors(states: &States, root: &RouterId) -> HashMap<RouterId, (RouterId, u64)> {
    let mut cost: HashMap<RouterId, u64> = HashMap::from([(root.clone(), 0)]);
    let mut previous: HashMap<RouterId, RouterId> = HashMap::new();
    let mut unsettled: Vec<RouterId> = states.keys().cloned().collect();
    loop {
        let next = unsettled
            .iter()
            .filter(|id| cost.contains_key(*id))
            .min_by_key(|id| (cost[*id], (*id).clone()));
        let Some(from) = next.cloned() else { break };
        unsettled.retain(|id| *id != from);
        for (to, edge) in &states[&from] {
            let total = cost[&from] + u64::from(*edge);
            if unsettled.contains(to) && cost.get(to).is_none_or(|known| total < *known) {
                cost.insert(to.clone(), total);
                previous.insert(to.clone(), from.clone());
            }
        }
    }
    previous
        .into_iter()
        .map(|(to, from)| {
            let total = cost[&to];
            (to, (from, total))
        })
        .collect()
}

fn path(states: &States, from: &RouterId, to: &RouterId) -> Vec<RouterId> {
    let tree = predecessors(states, from);
    let mut path = vec![to.clone()];
    while path[0] != *from {
        let Some((previous, _)) = tree.get(&path[0]) else {
            return Vec::new();
        };
        path.insert(0, previous.clone());
    }
    path
}

#[test]
fn equal_costs_are_settled_by_id() {
    // Both ways from a to z cost 2; b is settled before c, and c is not strictly cheaper.
    let states = states(&[("a", "c", 1), ("a", "b", 1), ("b", "z", 1), ("c", "z", 1)]);
    let topology = topology(&states, "a");
    let path = topology
        .paths()
        .find(|path| path.destination.as_str() == "z")
        .unwrap();
    assert_eq!((path.next_hop.as_str(), path.cost, path.hops), ("b", 2, 2));
}

#[test]
fn radius_counts_hops_and_cheap_detours_win() {
    let states = states(&[("a", "b", 1), ("b", "c", 1), ("c", "d", 1), ("a", "d", 10)]);
    let topology = topology(&states, "a");
    assert_eq!(topology.radius(), 3);
    let path = topology
        .paths()
        .find(|path| path.destination.as_str() == "d")
        .unwrap();
    assert_eq!(
        (path.next_hop.as_str(), path.cost),
        ("b", 3),
        "the neighbour is reached over others"
    );
}

#[test]
fn radius_allows_for_ties_settled_otherwise() {
    // a - z costs 3 either way; from a it goes directly, from z the longer way might.
    let states = states(&[("a", "z", 3), ("a", "m", 1), ("m", "n", 1), ("n", "z", 1)]);
    assert_eq!(topology(&states, "a").radius(), 3);
}

#[test]
fn edges_count_in_the_direction_they_are_stated() {
    let mut states = states(&[("a", "b", 1), ("b", "c", 1)]);
    states.get_mut("b").unwrap().remove("c");
    assert_eq!(
        topology(&states, "a").paths().count(),
        1,
        "nobody states a link to c"
    );
    assert_eq!(
        topology(&states, "c").paths().count(),
        2,
        "c states its own"
    );
}

#[test]
fn valid_origins_are_those_whose_path_leads_through() {
    let chain = states(&[("a", "b", 1), ("b", "c", 1), ("c", "d", 1)]);
    let topology = std::sync::Arc::new(topology(&chain, "b"));
    let origins = |to: &str| {
        let path = topology
            .paths()
            .find(|path| path.destination.as_str() == to)
            .unwrap();
        RouterSet::new(topology.clone(), path.position)
    };
    assert_eq!(origins("d").to_vec(), [id("a")]);
    assert_eq!(origins("a").to_vec(), [id("c"), id("d")]);
    assert!(origins("d").contains("a"));
    assert!(
        !origins("d").contains("c") && !origins("d").contains("b") && !origins("d").contains("x")
    );
}

#[test]
fn messages_of_a_router_whose_link_state_is_not_here_yet_pass() {
    let mut states = states(&[("a", "b", 1), ("b", "c", 1), ("c", "d", 1)]);
    states.get_mut("a").unwrap().clear();
    let topology = std::sync::Arc::new(topology(&states, "b"));
    for path in topology.paths() {
        let origins = RouterSet::new(topology.clone(), path.position);
        let passes = path.destination.as_str() != "a";
        assert_eq!(origins.contains("a"), passes, "{}", path.destination);
    }
    // Nobody is sent through it, and one that has lost all its links itself does not believe others that it has some.
    let mut states = states.clone();
    states.get_mut("c").unwrap().insert(id("a"), 1);
    let way = self::topology(&states, "c");
    let way = way.paths().find(|path| path.destination.as_str() == "b");
    assert_eq!(way.unwrap().cost, 1);
    assert_eq!(self::topology(&states, "a").paths().count(), 0);
}

#[test]
fn freed_numbers_are_used_again() {
    let mut set = BitSet::default();
    (0..130).for_each(|bit| set.insert(bit));
    assert_eq!(set.first_free(), 130);
    set.remove(64);
    assert_eq!(set.first_free(), 64);
    assert!(!set.contains(64) && set.contains(129) && !set.contains(1000));
}

fn random_states() -> impl Strategy<Value = States> {
    (3usize..14).prop_flat_map(|count| {
        let tree = prop::collection::vec((any::<prop::sample::Index>(), 1u32..4), count - 1);
        let extra = prop::collection::vec((0..count, 0..count, 1u32..4), 0..2 * count);
        (tree, extra).prop_map(move |(tree, extra)| {
            let name = |number: usize| id(&format!("r{number:02}"));
            let mut states: States = (0..count)
                .map(|number| (name(number), BTreeMap::new()))
                .collect();
            let mut link = |a: usize, b: usize, cost: u32| {
                states
                    .get_mut(&name(a))
                    .unwrap()
                    .entry(name(b))
                    .or_insert(cost);
                states
                    .get_mut(&name(b))
                    .unwrap()
                    .entry(name(a))
                    .or_insert(cost);
            };
            for (number, (parent, cost)) in tree.into_iter().enumerate() {
                link(number + 1, parent.index(number + 1), cost);
            }
            for (a, b, cost) in extra {
                if a != b {
                    link(a, b, cost);
                }
            }
            states
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn paths_and_origins_agree_with_the_plain_rules(states in random_states()) {
        for me in states.keys() {
            let topology = topology(&states, me.as_str());
            let tree = predecessors(&states, me);
            prop_assert_eq!(topology.paths().count(), states.len() - 1);
            for found in topology.paths() {
                let expected = path(&states, me, found.destination);
                prop_assert_eq!(found.next_hop, &expected[1]);
                prop_assert_eq!(found.hops as usize, expected.len() - 1);
                prop_assert_eq!(found.cost, tree[found.destination].1);
                for origin in states.keys().filter(|origin| *origin != me) {
                    let through = path(&states, origin, found.destination);
                    let inside = through.iter().position(|hop| hop == me).is_some_and(|at| at + 1 < through.len());
                    let number = topology.origin(origin.as_str()).unwrap();
                    prop_assert_eq!(topology.passes(number, found.position), inside);
                }
            }
        }
    }
}
