//! `skupper link create`: links this site to the one that issued a token.

use clap::Args;
use model::{LinkCost, LinkName};
use pki::token::{LinkToken, Token, TokenKind};
use runtime::site::{self, LinkRequest};
use tokio::io::AsyncReadExt as _;

use crate::args::{Changing, cobra, values};
use crate::error::CommandError;
use crate::session::Session;

/// Tokens are a few kilobytes; a file beyond this is something else
const LONGEST_TOKEN: u64 = 1 << 20;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Provide a specific name for the link (used when deleting it)
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Specify a cost for this link
    #[arg(long, value_name = "int32", value_parser = values::int32)]
    cost: Option<i32>,
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "<input-token-file>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    let file = cobra::one_word(&arguments.words)?;
    let cost = arguments.cost.map(cost).transpose()?;
    session.site()?;
    let tokens = read(file).await?;
    let name = match arguments.name.filter(|name| !name.is_empty()) {
        Some(name) => Some(LinkName::parse(&name).map_err(CommandError::failed)?),
        None => None,
    };
    let request = LinkRequest { tokens, name, cost };
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_link_create(&context, &request)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    for link in site::link_create(&context, &request).await?.links {
        let to = link.endpoints.inter_router.or(link.endpoints.edge);
        let to = to.map_or_else(|| ":".to_owned(), |endpoint| endpoint.to_string());
        session.ui.line(format!(
            "Site configured to link to {to} (name={})",
            link.name
        ));
    }
    session
        .ui
        .line("Check the status of the link using 'skupper link status'.");
    Ok(())
}

fn cost(value: i32) -> Result<LinkCost, CommandError> {
    u32::try_from(value)
        .ok()
        .and_then(|value| LinkCost::new(value).ok())
        .ok_or_else(|| {
            CommandError::failed(format!("invalid cost {value}"))
                .hint("the cost of a link is 1 or more")
        })
}

/// The links in a token file, of whatever format
async fn read(file: &str) -> Result<Vec<LinkToken>, CommandError> {
    let unreadable =
        |error: String| CommandError::failed(format!("Could not read connection token: {error}"));
    let opened = tokio::fs::File::open(file).await;
    let opened = opened.map_err(|error| unreadable(format!("open {file}: {error}")))?;
    let mut bytes = Vec::new();
    opened
        .take(LONGEST_TOKEN + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| unreadable(format!("read {file}: {error}")))?;
    if bytes.len() as u64 > LONGEST_TOKEN {
        return Err(unreadable(format!("{file} is too long for a token")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable(format!("{file} is not text")))?;
    let tokens = Token::parse(&text).map_err(|error| {
        CommandError::failed(error).hint(format!(
            "ask the other site for a new one: 'skupper token create {file}'"
        ))
    })?;
    tokens
        .into_iter()
        .map(|token| match token.kind {
            TokenKind::Link(link) => Ok(link),
            TokenKind::Claim(_) => Err(CommandError::refused(format!(
                "{file} is a claim token, and claim tokens are not supported yet; ask for -t cert"
            ))
            .hint("on the other site: 'skupper token create <file> -t cert'")),
        })
        .collect()
}
