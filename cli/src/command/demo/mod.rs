//! `skupper demo`: two sites, a link, a service, a request across; every step shown as the command to type.
//!
//! The commands are run as processes of this program, exactly as shown. What a user would do with `curl` the demo does
//! itself, so that nothing has to be installed. Whatever happens, what the demo made is removed, unless `--keep`.

pub(crate) mod backend;
mod container;
mod counters;
mod request;
mod shell;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use clap::Args;
use model::{Namespace, Platform};
use tokio::process::Child;
use tokio::time::Instant;

use self::container::BackendContainer;
use self::shell::Shell;
use crate::args::cobra;
use crate::error::{CommandError, ErrorKind};
use crate::platform::Source;
use crate::session::{self, Session};

const WEST: &str = "west";
const EAST: &str = "east";
/// Address of the service
const ADDRESS: &str = "hello";
const PORT: &str = "8080";
/// Octets of the reply that the counters are compared with
const PAYLOAD: u64 = 1 << 20;
/// For the first reply: the news of a service has to reach the other site
const FIRST_REPLY: Duration = Duration::from_secs(15);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Leave the sites running
    #[arg(long)]
    keep: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// What the demo made and has to remove
#[derive(Debug, Default)]
struct Made {
    sites: Vec<&'static str>,
    backend: Option<Child>,
    container: Option<BackendContainer>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("demo", &arguments.words)?;
    let platform = platform(session)?;
    for site in [WEST, EAST] {
        refuse_existing(session, site)?;
    }
    let shell = Shell {
        ui: session.ui.clone(),
        executable: session::executable()?,
        cancel: session.cancel.clone(),
    };
    let mut made = Made::default();
    let started = Instant::now();
    let result = show(session, &shell, platform, &mut made).await;
    let succeeded = result.is_ok();
    if arguments.keep {
        keep(&shell, &mut made);
        return result;
    }
    let result = result.and(remove(&shell, &mut made, succeeded).await);
    if result.is_ok() {
        shell.say(&format!(
            "Everything is removed. The demo took {:.1} seconds.",
            started.elapsed().as_secs_f64()
        ));
    }
    result
}

/// Linux unless the command line or the session says otherwise: it needs nothing installed
fn platform(session: &Session) -> Result<Platform, CommandError> {
    match session.selection() {
        Some(selection) if selection.source != Source::Switch => Ok(selection.managed()?.platform),
        _ => Ok(Platform::Linux),
    }
}

fn refuse_existing(session: &Session, site: &str) -> Result<(), CommandError> {
    let namespace = Namespace::parse(site).map_err(CommandError::failed)?;
    if !session.paths.site(&namespace).root().exists() {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "there is a site in the namespace \"{site}\" already, and the demo makes its own sites \"{WEST}\" and \"{EAST}\""
    ))
    .hint(format!("if it is left over from an earlier demo, remove it with 'skupper delete -n {site}'")))
}

async fn show(
    session: &Session,
    shell: &Shell,
    platform: Platform,
    made: &mut Made,
) -> Result<(), CommandError> {
    let platform_word = platform.to_string();
    shell
        .ui
        .line("# Two sites that will share a service. In practice they are on different machines.");
    for site in [WEST, EAST] {
        made.sites.push(site);
        shell
            .skupper(&["init", "-n", site, "--platform", &platform_word])
            .await?;
    }

    shell.say("West issues a token, east uses it to make a link: mutual TLS with certificates from the token.");
    let directory = tempfile::Builder::new()
        .prefix("skupper-demo-")
        .tempdir()
        .map_err(|error| {
            CommandError::failed(format!("could not make a temporary directory: {error}"))
        })?;
    let token = directory.path().join("token.yaml");
    let Some(token) = token.to_str() else {
        return Err(CommandError::failed(format!(
            "the path {} is not valid UTF-8",
            token.display()
        )));
    };
    shell
        .skupper(&["token", "create", token, "-t", "cert", "-n", WEST])
        .await?;
    shell
        .skupper(&["link", "create", token, "--name", "link1", "-n", EAST])
        .await?;
    shell
        .skupper(&["link", "status", "link1", "--wait", "20", "-n", EAST])
        .await?;

    shell.say("A small HTTP server in the east becomes the service \"hello\".");
    let (target_host, target_port) = start_backend(session, shell, platform, made).await?;
    shell
        .skupper(&[
            "expose",
            "host",
            &target_host,
            "--address",
            ADDRESS,
            "--port",
            PORT,
            "--target-port",
            &target_port,
            "-n",
            EAST,
        ])
        .await?;

    shell.say("West makes the same service, and offers it on a port of this host.");
    let port = free_port()?;
    let host_port = format!("{PORT}:{port}");
    shell
        .skupper(&[
            "service",
            "create",
            ADDRESS,
            PORT,
            "--host-port",
            &host_port,
            "-n",
            WEST,
        ])
        .await?;

    shell.say("A request in the west is answered in the east.");
    shell.show(&format!("curl http://127.0.0.1:{port}/"));
    let greeting = first_reply(shell, port).await?;
    shell.ui.text(&greeting);
    compare_counters(session, shell, port).await?;

    shell.say("What each site says about itself:");
    for site in [WEST, EAST] {
        shell.skupper(&["status", "-n", site]).await?;
        shell.skupper(&["service", "status", "-n", site]).await?;
    }
    Ok(())
}

/// Gives host and port of the target
async fn start_backend(
    session: &Session,
    shell: &Shell,
    platform: Platform,
    made: &mut Made,
) -> Result<(String, String), CommandError> {
    if platform.is_container() {
        let container = BackendContainer::plan(session, EAST).await?;
        shell.show(&container.command_line());
        let container = made.container.insert(container);
        container.start().await?;
        return Ok((container.name().to_owned(), container::PORT.to_string()));
    }
    let (child, line) = shell
        .start(&["demo-backend", "--listen", "127.0.0.1:0", "--detach"])
        .await?;
    made.backend = Some(child);
    let port = line.rsplit(':').next().unwrap_or_default().to_owned();
    shell.ui.line(line);
    Ok(("127.0.0.1".to_owned(), port))
}

/// The reply to the first request; tried again while the other site learns of the service
async fn first_reply(shell: &Shell, port: u16) -> Result<String, CommandError> {
    let deadline = Instant::now() + FIRST_REPLY;
    loop {
        shell.check_interrupted()?;
        let problem = match request::get(port, "/").await {
            Ok(body) if body.starts_with(backend::GREETING.as_bytes()) => {
                return Ok(String::from_utf8_lossy(&body).into_owned());
            }
            Ok(_) => "something else than the demo's server answered".to_owned(),
            Err(problem) => problem,
        };
        if Instant::now() >= deadline {
            return Err(CommandError::failed(format!(
                "no reply through the service network: {problem}"
            ))
            .hint("to look around, run the demo with --keep"));
        }
        shell.ui.step("waiting for the first reply");
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// Sends a payload across and holds it against what both routers counted on their links
async fn compare_counters(session: &Session, shell: &Shell, port: u16) -> Result<(), CommandError> {
    shell.say(
        "Both routers count the octets of their links: a longer reply has to show up in both.",
    );
    let before = [
        counters::read(&session.paths, WEST).await?,
        counters::read(&session.paths, EAST).await?,
    ];
    shell.show(&format!(
        "curl -s http://127.0.0.1:{port}/bytes/{PAYLOAD} | wc -c"
    ));
    let body = request::get(port, &format!("/bytes/{PAYLOAD}"))
        .await
        .map_err(|problem| {
            CommandError::failed(format!("no reply through the service network: {problem}"))
        })?;
    shell.ui.line(body.len().to_string());
    if body.len() as u64 != PAYLOAD {
        return Err(CommandError::failed(format!(
            "the reply has {} octets instead of {PAYLOAD}",
            body.len()
        )));
    }
    for (site, before) in [WEST, EAST].into_iter().zip(before) {
        let after = counters::read(&session.paths, site).await?;
        let moved = after.link_octets.saturating_sub(before.link_octets);
        if after.links == 0 || moved < PAYLOAD {
            return Err(CommandError::failed(format!(
                "the reply did not come through the link: the links of \"{site}\" carried {moved} octets"
            )));
        }
        shell
            .ui
            .line(format!("# The link of {site} carried {moved} octets."));
    }
    Ok(())
}

/// A port of this host that is free now
fn free_port() -> Result<u16, CommandError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| {
            CommandError::failed(format!("there is no free port on 127.0.0.1: {error}"))
        })
}

fn keep(shell: &Shell, made: &mut Made) {
    shell.say("The sites are left running. Remove them with:");
    if let Some(child) = made.backend.take()
        && let Some(id) = child.id()
    {
        shell.show(&format!("kill {id}"));
    }
    if let Some(container) = made.container.take() {
        shell.show(&container.removal_line());
    }
    for site in made.sites.drain(..).rev() {
        shell.show(&format!("skupper delete -n {site}"));
    }
}

/// Removes what was made, in reverse; goes on after errors and reports the first
async fn remove(shell: &Shell, made: &mut Made, succeeded: bool) -> Result<(), CommandError> {
    shell.say(if succeeded {
        "Removing everything."
    } else {
        "The demo ends here; removing what it made."
    });
    let mut result = Ok(());
    if let Some(container) = made.container.take() {
        shell.show(&container.removal_line());
        result = result.and(container.remove().await);
    }
    if let Some(mut child) = made.backend.take()
        && let Err(error) = shell::interrupt(&mut child).await
    {
        result = result.and(Err(CommandError::failed(format!(
            "could not stop the server: {error}"
        ))));
    }
    for site in made.sites.drain(..).rev() {
        result = result.and(shell.skupper_regardless(&["delete", "-n", site]).await);
    }
    result.map_err(|mut error| {
        if error.kind != ErrorKind::Interrupted {
            error.hints.push(
                "remove what is left with 'skupper delete -n west' and 'skupper delete -n east'"
                    .to_owned(),
            );
        }
        error
    })
}
