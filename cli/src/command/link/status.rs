//! `skupper link status`: whether links are up, and why not.

use std::time::Duration;

use clap::Args;
use runtime::site::{self, SiteError};
use tokio::time::Instant;

use crate::args::{Reporting, cobra, values};
use crate::error::{CommandError, ErrorKind};
use crate::render::link::{LinkReport, LinksReport};
use crate::report;
use crate::session::Session;

/// Between two looks with `--wait`
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The number of seconds to wait for links to become connected
    #[arg(long, value_name = "int", default_value = "0", value_parser = values::int)]
    wait: i64,
    /// Show the links of other sites to this one
    #[arg(long)]
    show_incoming_links: bool,
    /// Longest time for the questions to the router
    #[arg(long, value_name = "duration", default_value = "5s", value_parser = values::duration)]
    timeout: Duration,
    #[command(flatten)]
    reporting: Reporting,
    #[arg(value_name = "[<link-name>]")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let name = cobra::at_most_one_word(&arguments.words)?.filter(|name| *name != "all");
    if arguments.timeout.is_zero() {
        return Err(CommandError::failed("invalid timeout value"));
    }
    session.site()?;
    let wait = Duration::from_secs(u64::try_from(arguments.wait).unwrap_or(0));
    let outgoing = wait_for(session, name, wait, arguments.timeout).await?;
    // A question to the whole network, asked only for an answer that is shown
    let incoming = if arguments.show_incoming_links || arguments.reporting.output.is_some() {
        report::incoming(&within(arguments.timeout, site::status(&session.context()?)).await?)
    } else {
        None
    };
    let links = LinksReport { outgoing, incoming };
    let found = name.map(|name| {
        links
            .outgoing
            .iter()
            .find(|link| link.name == name)
            .ok_or(name)
    });
    if let Some(format) = arguments.reporting.output {
        return match found {
            None => session.ui.report(format, &links),
            Some(Ok(link)) => session.ui.report(format, link),
            Some(Err(name)) => return Err(CommandError::failed(format!("No such link {name:?}"))),
        }
        .map_err(CommandError::failed);
    }
    match found {
        Some(Err(name)) => session.ui.line(format!("No such link {name:?}")),
        Some(Ok(link)) if session.ui.verbose() => session.ui.text(&link.details()),
        Some(Ok(link)) => session.ui.line(link.sentence()),
        None if session.ui.verbose() => {
            session.ui.line(
                "In order to provide detailed information about the link, specify the link name",
            );
        }
        None => session.ui.text(&links.list(arguments.show_incoming_links)),
    }
    Ok(())
}

/// Looks until the links in question are connected or the time is up
async fn wait_for(
    session: &Session,
    name: Option<&str>,
    wait: Duration,
    timeout: Duration,
) -> Result<Vec<LinkReport>, CommandError> {
    let deadline = Instant::now() + wait;
    let context = session.context()?;
    loop {
        let found = within(timeout, site::link_statuses(&context)).await?;
        let links: Vec<LinkReport> = found.iter().map(report::link).collect();
        let pending =
            |link: &LinkReport| !link.connected && name.is_none_or(|name| link.name == name);
        if !links.iter().any(pending) || Instant::now() >= deadline {
            return Ok(links);
        }
        session.ui.step("waiting for the link");
        tokio::select! {
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
            () = session.cancel.cancelled() => {
                return Err(CommandError::new(ErrorKind::Interrupted, "interrupted"));
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, SiteError>>,
) -> Result<T, CommandError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CommandError::failed(format!(
            "unable to retrieve links: no answer within {limit:?}"
        ))
        .hint("allow more time with --timeout")),
    }
}
