//! The service addresses of a tcpListener: its own, or those of `listenerAddress` entities, of which each client gets
//! one, as routers of version 3 choose it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use model::router_config::{ListenerAddress, MultiAddressStrategy};

use crate::core::{control_message::ControlMessage, shared::Shared, table::Table};

/// One service address of a listener.
#[derive(Debug)]
pub struct Target {
    /// Name of the `listenerAddress`; none: the address is the listener's own.
    pub name: Option<String>,
    /// The address.
    pub address: Arc<str>,
    /// Priority or weight.
    value: i32,
    opened: AtomicU64,
}

impl Target {
    /// Clients that got it so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Smaller is earlier in the list.
    fn place(&self) -> (i64, Option<&str>) {
        (-i64::from(self.value), self.name.as_deref())
    }
}

/// All service addresses of a listener.
#[derive(Debug)]
pub(super) struct Targets {
    strategy: MultiAddressStrategy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By falling value.
    list: Vec<Arc<Target>>,
    /// The control task has been told which ones they are.
    watched: bool,
}

impl Targets {
    /// The only address of a listener.
    pub(super) fn one(address: Arc<str>) -> Self {
        let targets = Self::several(MultiAddressStrategy::None);
        targets.state().list.push(Arc::new(Target {
            name: None,
            address,
            value: 0,
            opened: AtomicU64::new(0),
        }));
        targets
    }

    /// Addresses that are still to be added.
    pub(super) fn several(strategy: MultiAddressStrategy) -> Self {
        Self {
            strategy,
            state: Mutex::default(),
        }
    }

    /// A `listenerAddress` exists. It is used as it stands there, without the name of a tenant before it.
    pub(super) fn add(&self, shared: &Shared, entity: &ListenerAddress) {
        let target = Arc::new(Target {
            name: Some(entity.name.clone()),
            address: entity.address.as_str().into(),
            value: entity.value,
            opened: AtomicU64::new(0),
        });
        let mut state = self.state();
        if state.watched {
            shared.tell(ControlMessage::WatchUp(target.address.clone()));
        }
        let place = state
            .list
            .partition_point(|other| other.place() < target.place());
        state.list.insert(place, target);
    }

    /// It does not any more.
    pub(super) fn remove(&self, shared: &Shared, name: &str) {
        let mut state = self.state();
        let place = state
            .list
            .iter()
            .position(|target| target.name.as_deref() == Some(name));
        if let Some(place) = place {
            let target = state.list.remove(place);
            if state.watched {
                shared.tell(ControlMessage::WatchDown(target.address.clone()));
            }
        }
    }

    /// Begins or ends to ask the control task whether they are reachable.
    pub(super) fn watch(&self, shared: &Shared, watched: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.watched, watched) == watched {
            return;
        }
        for target in &state.list {
            let address = target.address.clone();
            shared.tell(if watched {
                ControlMessage::WatchUp(address)
            } else {
                ControlMessage::WatchDown(address)
            });
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Target>> {
        self.state().list.clone()
    }

    /// Whether any of them has a consumer.
    pub(super) fn is_reachable(&self, table: &Table) -> bool {
        let state = self.state();
        let mut targets = state.list.iter();
        targets.any(|target| table.is_reachable(&target.address))
    }

    /// The one for a new client, which is counted; none only if there are none. One that is not reachable is chosen only
    /// if all are.
    pub(super) fn choose(&self, table: &Table) -> Option<Arc<Target>> {
        let state = self.state();
        let chosen = match self.strategy {
            MultiAddressStrategy::None => state.list.first(),
            MultiAddressStrategy::Priority | MultiAddressStrategy::Weighted => {
                let reachable: Vec<&Arc<Target>> = state
                    .list
                    .iter()
                    .filter(|target| table.is_reachable(&target.address))
                    .collect();
                let weighted = self.strategy == MultiAddressStrategy::Weighted;
                weighted
                    .then(|| drawn(&reachable))
                    .flatten()
                    .or(reachable.first().copied())
                    .or(state.list.first())
            }
        }?;
        chosen.opened.fetch_add(1, Ordering::Relaxed);
        Some(chosen.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One at random, each as often as its weight says; none if none has a weight.
fn drawn<'t>(targets: &[&'t Arc<Target>]) -> Option<&'t Arc<Target>> {
    let weight = |target: &Target| u64::try_from(target.value).unwrap_or(0);
    let sum: u64 = targets.iter().map(|target| weight(target)).sum();
    if sum == 0 {
        return None;
    }
    let mut left = rand::random_range(0..sum);
    targets.iter().copied().find(|target| {
        let weight = weight(target);
        let found = left < weight;
        left = left.saturating_sub(weight);
        found
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        adaptor::tcp::TcpConnector,
        core::{
            address::AddressSpace,
            table::{Address, Consumer, ConsumerTarget},
        },
        net::tls::TlsProfiles,
        routing::Treatment,
    };

    fn shared() -> Shared {
        let space = AddressSpace {
            id: "me".to_owned(),
            edge: false,
        };
        Shared::new(space, Vec::new())
    }

    /// A table in which these addresses have a consumer.
    fn table(shared: &Shared, reachable: &[&str]) -> Table {
        let mut table = Table::clone(&shared.table.load());
        for address in reachable {
            let profiles = Arc::new(TlsProfiles::new(&BTreeMap::new()));
            let connector = model::router_config::TcpConnector::new("c", *address, "h", 1);
            let connector = Arc::new(TcpConnector::new(&connector, &profiles, None));
            let key: Arc<str> = format!("M{address}").into();
            let consumer = Consumer {
                target: ConsumerTarget::Tcp(connector),
                open: Arc::default(),
                proxy: false,
            };
            let address = Address {
                key: key.clone(),
                treatment: Treatment::Balanced,
                consumers: vec![Arc::new(consumer)],
                transit: std::collections::HashMap::new(),
                turn: Arc::default(),
                counts: Arc::default(),
            };
            table.addresses.insert(key, Arc::new(address));
        }
        table
    }

    fn targets(
        shared: &Shared,
        strategy: MultiAddressStrategy,
        entries: &[(&str, i32)],
    ) -> Targets {
        let targets = Targets::several(strategy);
        for (address, value) in entries {
            targets.add(
                shared,
                &ListenerAddress {
                    name: (*address).to_owned(),
                    address: (*address).to_owned(),
                    value: *value,
                    listener: "l".to_owned(),
                },
            );
        }
        targets
    }

    fn chosen(targets: &Targets, table: &Table) -> Option<String> {
        targets
            .choose(table)
            .map(|target| target.address.to_string())
    }

    #[test]
    fn the_reachable_one_of_the_highest_priority_is_chosen() {
        let shared = shared();
        let targets = targets(
            &shared,
            MultiAddressStrategy::Priority,
            &[("low", -3), ("high", 9), ("middle", 2), ("also", 2)],
        );
        for (reachable, expected) in [
            (&["low", "middle", "high"][..], "high"),
            (&["middle", "low"], "middle"),
            (&["middle", "also"], "also"),
            (&["low"], "low"),
            (&[], "high"),
        ] {
            let table = table(&shared, reachable);
            assert_eq!(targets.is_reachable(&table), !reachable.is_empty());
            assert_eq!(chosen(&targets, &table).as_deref(), Some(expected));
        }
        let counts: Vec<u64> = targets.all().iter().map(|target| target.opened()).collect();
        assert_eq!(counts, [2, 1, 1, 1], "high, also, middle, low");
        targets.remove(&shared, "high");
        assert_eq!(
            chosen(&targets, &table(&shared, &["high", "low"])).as_deref(),
            Some("low")
        );
    }

    #[test]
    fn weights_say_how_often_each_is_chosen() {
        let shared = shared();
        let targets = targets(
            &shared,
            MultiAddressStrategy::Weighted,
            &[("a", 3), ("b", 1), ("never", 0), ("nor", -5), ("away", 100)],
        );
        let all = table(&shared, &["a", "b", "never", "nor"]);
        for _ in 0..4000 {
            let chosen = chosen(&targets, &all).unwrap();
            assert!(chosen == "a" || chosen == "b", "{chosen}");
        }
        let count = |name: &str| {
            let all = targets.all();
            let target = all.iter().find(|target| &*target.address == name);
            target.unwrap().opened()
        };
        // 3000 and 1000 are expected; a deviation of this much does not happen by chance.
        assert!((2800..3200).contains(&count("a")), "{}", count("a"));
        // Without any weight, some one that is reachable.
        assert_eq!(
            chosen(&targets, &table(&shared, &["never"])).as_deref(),
            Some("never")
        );
        let none = Targets::several(MultiAddressStrategy::Weighted);
        assert_eq!(chosen(&none, &all), None);
        assert!(!none.is_reachable(&all));
    }

    #[test]
    fn the_control_task_knows_those_of_listeners_that_run() {
        let shared = shared();
        let targets = targets(&shared, MultiAddressStrategy::Priority, &[("a", 1)]);
        let entity = |name: &str| ListenerAddress {
            name: name.to_owned(),
            address: name.to_owned(),
            value: 1,
            listener: "l".to_owned(),
        };
        targets.watch(&shared, true);
        targets.watch(&shared, true);
        targets.add(&shared, &entity("b"));
        targets.remove(&shared, "a");
        targets.remove(&shared, "a");
        targets.watch(&shared, false);
        targets.add(&shared, &entity("c"));
        let told: Vec<String> = shared
            .control
            .close()
            .into_iter()
            .map(|message| match message {
                ControlMessage::WatchUp(address) => format!("+{address}"),
                ControlMessage::WatchDown(address) => format!("-{address}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, ["+a", "+b", "-a", "-b"]);
    }
}
