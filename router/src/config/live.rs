//! The configuration in force: the file, and over it what management changed.
//!
//! ```text
//! file ──┐
//!        ├─ over ─► checked ─► Applied::change ─► in force
//! edits ─┘
//! ```
//!
//! An edit is about one entity and lasts until the router ends or the file says something else about that entity than
//! it did when the edit was made. What the file never named is not touched by it.

use std::collections::BTreeMap;

use model::router_config::{Entity, EntityKey, EntityKind, RouterConfig};
use serde_json::Map;
use tracing::info;

use super::Applied;
use crate::management::{Action, ChangeError};

/// Most entities that management may have made or changed.
const MAX_EDITS: usize = 16_384;

/// The configuration in force and where it comes from.
#[derive(Debug)]
pub struct Live {
    applied: Applied,
    file: RouterConfig,
    edits: Edits,
}

impl Live {
    /// Everything is as the file says.
    pub fn new(applied: Applied) -> Self {
        Self {
            file: applied.config().clone(),
            applied,
            edits: Edits::default(),
        }
    }

    /// What is in force.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The file as it was last applied.
    pub fn file(&self) -> &RouterConfig {
        &self.file
    }

    /// Brings a changed file into force.
    ///
    /// # Errors
    /// Why it is not usable; nothing is changed then.
    pub async fn reload(&mut self, file: RouterConfig) -> Result<(), String> {
        let mut edits = self.edits.clone();
        for key in edits.follow(&file) {
            info!(target: "router::config", entity = %key, "the configuration file takes the place of what management set");
        }
        let config = edits.over(&file);
        config
            .check()
            .map_err(|error| format!("with what management set: {error}"))?;
        self.applied.change(config).await?;
        self.edits = edits;
        self.file = file;
        Ok(())
    }

    /// Makes a change that management asked for; returns the key of the entity.
    ///
    /// # Errors
    /// Why it is not made; nothing is changed then.
    pub async fn edit(&mut self, action: &Action) -> Result<EntityKey, ChangeError> {
        let (key, entity) = self.wanted(action)?;
        let mut edits = self.edits.clone();
        edits.put(&self.file, key.clone(), entity)?;
        let config = edits.over(&self.file);
        config.check()?;
        self.applied
            .change(config)
            .await
            .map_err(ChangeError::Refused)?;
        info!(target: "router::agent", entity = %key, "changed by management");
        self.edits = edits;
        Ok(key)
    }

    /// The entity after the change; none if it is to go.
    fn wanted(&self, action: &Action) -> Result<(EntityKey, Option<Entity>), ChangeError> {
        let now = self.applied.config();
        match action {
            Action::Create(entity) => {
                let key = entity.key();
                if now.entity(&key).is_some() {
                    let place = if self.file.entity(&key).is_some() {
                        "in the configuration file"
                    } else {
                        "made by management"
                    };
                    return Err(ChangeError::Duplicate(key, place));
                }
                Ok((key, Some(entity.clone())))
            }
            Action::Update(key, changed) => {
                let mut attributes = match (now.entity(key), key) {
                    (Some(entity), _) => entity.attributes(),
                    // Every module has a log entity, whether or not the file has one.
                    (None, EntityKey::Named(EntityKind::Log, module)) => {
                        Map::from_iter([("module".to_owned(), module.as_str().into())])
                    }
                    (None, _) => return Err(ChangeError::Unknown(key.clone())),
                };
                attributes.extend(changed.clone());
                let (entity, _) = Entity::parse(key.kind(), attributes)?;
                if entity.key() != *key {
                    return Err(ChangeError::Refused(format!(
                        "what {key} is about cannot be changed; delete it and create another"
                    )));
                }
                Ok((key.clone(), Some(entity)))
            }
            Action::Delete(key) => match now.entity(key) {
                Some(_) => Ok((key.clone(), None)),
                None => Err(ChangeError::Unknown(key.clone())),
            },
        }
    }
}

/// What management changed, by entity.
#[derive(Clone, Debug, Default)]
struct Edits(BTreeMap<EntityKey, Edit>);

#[derive(Clone, Debug)]
struct Edit {
    /// None: deleted.
    entity: Option<Entity>,
    /// What the file said then.
    file: Option<Entity>,
}

impl Edits {
    /// The file with the edits.
    fn over(&self, file: &RouterConfig) -> RouterConfig {
        let mut config = file.clone();
        for (key, edit) in &self.0 {
            match &edit.entity {
                Some(entity) => {
                    config.put(entity.clone());
                }
                None => config.remove(key),
            }
        }
        config
    }

    fn put(
        &mut self,
        file: &RouterConfig,
        key: EntityKey,
        entity: Option<Entity>,
    ) -> Result<(), ChangeError> {
        let file = file.entity(&key);
        if entity == file {
            self.0.remove(&key);
            return Ok(());
        }
        if self.0.len() >= MAX_EDITS && !self.0.contains_key(&key) {
            return Err(ChangeError::Refused(format!(
                "management has changed {MAX_EDITS} entities, which is the most"
            )));
        }
        self.0.insert(key, Edit { entity, file });
        Ok(())
    }

    /// Forgets the edits of entities about which the file says something new; returns them.
    fn follow(&mut self, file: &RouterConfig) -> Vec<EntityKey> {
        let (kept, gone) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(key, edit)| edit.file == file.entity(key));
        self.0 = kept;
        gone.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use model::router_config::{Mode, RouterEntity, TcpConnector, TcpListener};

    use super::*;

    fn file(listeners: &[(&str, u16)]) -> RouterConfig {
        let mut config = RouterConfig::new(RouterEntity::new("r", Mode::Interior));
        for (name, port) in listeners {
            config.put_tcp_listener(TcpListener::new(*name, "a", *port));
        }
        config
    }

    fn listener(name: &str, port: u16) -> Entity {
        Entity::TcpListener(TcpListener::new(name, "a", port))
    }

    fn put(edits: &mut Edits, file: &RouterConfig, entity: Entity) {
        edits.put(file, entity.key(), Some(entity)).unwrap();
    }

    #[test]
    fn what_the_file_never_named_survives_its_changes() {
        let first = file(&[("a", 1)]);
        let mut edits = Edits::default();
        put(&mut edits, &first, listener("mine", 5));
        let second = file(&[("b", 2)]);
        assert!(edits.follow(&second).is_empty());
        let config = edits.over(&second);
        assert_eq!(
            config.tcp_listeners.keys().collect::<Vec<_>>(),
            ["b", "mine"]
        );
    }

    #[test]
    fn the_file_wins_where_it_says_something_new() {
        let first = file(&[("a", 1), ("b", 1), ("c", 1)]);
        let mut edits = Edits::default();
        edits.put(&first, listener("a", 1).key(), None).unwrap();
        put(&mut edits, &first, listener("b", 7));
        put(&mut edits, &first, listener("mine", 5));
        let ports = |config: &RouterConfig| -> Vec<(String, u16)> {
            let listeners = config.tcp_listeners.values();
            listeners.map(|one| (one.name.clone(), one.port)).collect()
        };
        let [b, c, mine] = [("b", 7), ("c", 1), ("mine", 5)].map(|(n, p)| (n.to_owned(), p));
        assert_eq!(ports(&edits.over(&first)), [b.clone(), c, mine]);
        // Another entity changes: the edits stay.
        let second = file(&[("a", 1), ("b", 1), ("c", 2)]);
        assert!(edits.follow(&second).is_empty());
        // The edited ones change, and one of the name of a new one comes.
        let third = file(&[("a", 2), ("c", 2), ("mine", 9)]);
        assert_eq!(edits.follow(&third).len(), 3);
        assert_eq!(ports(&edits.over(&third)), ports(&third));
    }

    #[test]
    fn an_edit_that_is_undone_is_none() {
        let first = file(&[("a", 1)]);
        let mut edits = Edits::default();
        put(&mut edits, &first, listener("a", 2));
        put(&mut edits, &first, listener("a", 1));
        let mine = Entity::TcpConnector(TcpConnector::new("mine", "a", "h", 1));
        put(&mut edits, &first, mine.clone());
        edits.put(&first, mine.key(), None).unwrap();
        assert!(edits.0.is_empty());
    }

    #[test]
    fn edits_are_bounded() {
        let file = file(&[]);
        let mut edits = Edits::default();
        for number in 0..MAX_EDITS {
            put(&mut edits, &file, listener(&number.to_string(), 1));
        }
        let more = listener("more", 1);
        assert!(edits.put(&file, more.key(), Some(more)).is_err());
        put(&mut edits, &file, listener("1", 2));
    }
}
