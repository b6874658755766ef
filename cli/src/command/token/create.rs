//! `skupper token create`: writes the file that lets another site link to this one.

use std::path::PathBuf;

use clap::Args;
use runtime::site::{self, TokenFormat, TokenRequest};

use crate::args::cobra;
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Provide a specific identity as which connecting skupper installation will be authenticated
    #[arg(long, value_name = "string", default_value = "skupper")]
    name: String,
    /// Host of this site that the token names (default: the first)
    #[arg(long, value_name = "string")]
    ingress_host: Option<String>,
    /// Type of token to create [cert]
    #[arg(long, short = 't', value_name = "string")]
    token_type: Option<String>,
    /// Form of the file: v1 (a Secret) or v2 (a Link and a Secret)
    #[arg(long, value_name = "string", default_value = "v1")]
    format: String,
    #[arg(value_name = "<output-token-file>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    let file = cobra::one_word(&arguments.words)?.to_owned();
    if file.is_empty() {
        return Err(CommandError::failed("the name of the token file is empty"));
    }
    match arguments.token_type.as_deref().unwrap_or("cert") {
        "cert" => {}
        "claim" => {
            return Err(CommandError::refused(
                "claim tokens are not supported yet; ask for -t cert",
            )
            .hint("a certificate token works until the site is deleted: keep the file secret"));
        }
        _ => {
            return Err(CommandError::failed(
                "invalid token type. Specify cert or claim",
            ));
        }
    }
    let format = match arguments.format.as_str() {
        "v1" => TokenFormat::V1,
        "v2" => TokenFormat::V2,
        other => {
            return Err(CommandError::failed(format!(
                "invalid token format {other:?}: must be one of v1, v2"
            )));
        }
    };
    session.site()?;
    let request = TokenRequest {
        subject_name: arguments.name,
        ingress_host: arguments.ingress_host.filter(|host| !host.is_empty()),
        file: PathBuf::from(&file),
        format,
        force: true,
    };
    let issued = site::token_create(&session.context()?, &request).await?;
    session.ui.note(format!(
        "Sites that use it connect to {} (edge sites: {}). Keep the file secret.",
        issued.inter_router, issued.edge
    ));
    // The space at the end is part of the line in Skupper 1.
    session
        .ui
        .line(format!("Connection token written to {file} "));
    Ok(())
}
