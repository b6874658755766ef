//! `skupper service create`: defines a service on this site.

use clap::Args;
use runtime::site;

use super::definition::{self, ServiceFlags};
use crate::args::{Changing, cobra};
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: ServiceFlags,
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "<name> <port...>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    let (name, ports) = name_and_ports(&arguments.words)?;
    if let Some(notice) = arguments.flags.notice() {
        session.ui.note(notice);
    }
    session.site()?;
    let ports = definition::ports_of_words(&ports)?;
    let service = arguments.flags.service(&name, &ports, true)?;
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_service_create(&context, &service).await?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::service_create(&context, &service).await?;
    Ok(())
}

/// `name port...` or `name:port`
fn name_and_ports(words: &[String]) -> Result<(String, Vec<String>), CommandError> {
    let missing = || cobra::usage_error("Name and port(s) must be specified");
    match words {
        [] => Err(missing()),
        [one] => {
            let (name, port) = one.split_once(':').ok_or_else(missing)?;
            Ok((name.to_owned(), vec![port.to_owned()]))
        }
        [name, ports @ ..] => Ok((name.clone(), ports.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let words = |line: &str| {
            line.split_whitespace()
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            name_and_ports(&words("a 80 81")).unwrap(),
            ("a".to_owned(), words("80 81"))
        );
        assert_eq!(
            name_and_ports(&words("a:80")).unwrap(),
            ("a".to_owned(), words("80"))
        );
        for line in ["", "a"] {
            assert_eq!(
                name_and_ports(&words(line)).unwrap_err().text,
                "Name and port(s) must be specified"
            );
        }
    }
}
