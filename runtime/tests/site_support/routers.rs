//! Routers that load their configuration file at every question.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::router_config::RouterConfig;
use runtime::site::access::{AccessError, Agent, BoxFuture, RouterAccess, RouterSession, Row};
use serde_json::{Value, json};

/// Answers for every socket whose site has a configuration file for it.
#[derive(Debug, Default)]
pub(crate) struct FakeRouters {
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// No router answers.
    down: bool,
    /// Message of every TCP listener that was loaded.
    refuse_listeners: Option<String>,
    /// By connector: status, message.
    connectors: BTreeMap<String, (String, String)>,
    /// Rows of other routers: (agent, entity) to rows.
    answers: BTreeMap<(String, String), Vec<Value>>,
}

impl FakeRouters {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    pub(crate) fn refuse_listeners(&self, message: Option<&str>) {
        self.with(|state| state.refuse_listeners = message.map(str::to_owned));
    }

    pub(crate) fn connector(&self, name: &str, status: &str, message: &str) {
        self.with(|state| {
            state
                .connectors
                .insert(name.to_owned(), (status.to_owned(), message.to_owned()))
        });
    }

    /// Rows that a router answers with: `agent` is `local`, an interior router's id, or `edge:<id>`.
    pub(crate) fn answer(&self, agent: &str, entity: &str, rows: Vec<Value>) {
        self.with(|state| {
            state
                .answers
                .insert((agent.to_owned(), entity.to_owned()), rows)
        });
    }
}

impl RouterAccess for FakeRouters {
    fn open<'a>(
        &'a self,
        socket: &'a Path,
    ) -> BoxFuture<'a, Result<Box<dyn RouterSession>, AccessError>> {
        Box::pin(async move {
            let state = self.with(|state| state.clone());
            let config = config_of(socket)
                .filter(|_| !state.down)
                .and_then(|path| fs::read_to_string(path).ok())
                .ok_or_else(|| AccessError::NotRunning {
                    socket: socket.display().to_string(),
                })?;
            let config = RouterConfig::parse(&config).expect("a valid file").config;
            let session: Box<dyn RouterSession> = Box::new(Session { config, state });
            Ok(session)
        })
    }
}

struct Session {
    config: RouterConfig,
    state: State,
}

impl RouterSession for Session {
    fn query<'a>(
        &'a mut self,
        agent: Agent<'a>,
        entity: &'a str,
        attributes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Row>, AccessError>> {
        Box::pin(async move {
            assert!(!attributes.is_empty());
            let agent = match agent {
                Agent::Local => "local".to_owned(),
                Agent::Interior(id) => id.to_owned(),
                Agent::Edge(id) => format!("edge:{id}"),
            };
            let known = self.state.answers.get(&(agent.clone(), entity.to_owned()));
            let rows = match known {
                Some(rows) => rows.clone(),
                None if agent == "local" => self.own(entity),
                None => {
                    return Err(AccessError::Unreachable {
                        router: agent,
                        reason: "no such router".to_owned(),
                    });
                }
            };
            Ok(rows
                .into_iter()
                .map(|row| match row {
                    Value::Object(row) => row.into_iter().collect(),
                    other => panic!("no row: {other}"),
                })
                .collect())
        })
    }
}

impl Session {
    fn own(&self, entity: &str) -> Vec<Value> {
        let config = &self.config;
        match entity {
            "router" => vec![json!({"id": config.router.id, "metadata": config.router.metadata})],
            "router.node" => {
                vec![json!({"id": config.router.id, "nextHop": "(self)", "linkState": []})]
            }
            "connector" => config
                .connectors
                .values()
                .map(|connector| {
                    let (status, message) = self
                        .state
                        .connectors
                        .get(&connector.name)
                        .cloned()
                        .unwrap_or(("FAILED".to_owned(), "Connection refused".to_owned()));
                    json!({
                        "name": connector.name, "host": connector.host, "port": connector.port,
                        "connectionStatus": status, "connectionMsg": message,
                    })
                })
                .collect(),
            "tcpListener" => config
                .tcp_listeners
                .keys()
                .map(|name| json!({"name": name, "connectionMsg": self.state.refuse_listeners}))
                .collect(),
            "tcpConnector" => config
                .tcp_connectors
                .keys()
                .map(|name| json!({"name": name}))
                .collect(),
            "connection" => Vec::new(),
            other => panic!("unexpected question about {other}"),
        }
    }
}

/// The configuration file that belongs to a socket: both lie in the site's directory.
fn config_of(socket: &Path) -> Option<PathBuf> {
    let site = socket
        .ancestors()
        .find(|path| path.join("site.yaml").exists() || path.join("router").exists())?;
    let name = socket.file_stem()?.to_str()?;
    Some(match name.strip_prefix("service-") {
        None => site.join("router/skrouterd.json"),
        Some(service) => site
            .join("service-routers")
            .join(service)
            .join("skrouterd.json"),
    })
}
