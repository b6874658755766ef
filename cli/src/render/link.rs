//! Texts of `skupper link status`.

use serde::Serialize;

use super::columns;

/// A link made from this site
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LinkReport {
    pub(crate) name: String,
    pub(crate) connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) cost: u32,
    /// RFC 3339
    pub(crate) created: String,
    /// `<site name>-<site id>` of the other end, as far as known
    pub(crate) site: String,
}

/// A link that another site made to this one
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IncomingReport {
    pub(crate) site_name: String,
    pub(crate) site_id: String,
}

/// Both kinds, for programs
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LinksReport {
    pub(crate) outgoing: Vec<LinkReport>,
    /// Absent while the router does not answer
    pub(crate) incoming: Option<Vec<IncomingReport>>,
}

impl LinkReport {
    /// `Link link1 is connected`
    pub(crate) fn sentence(&self) -> String {
        match (self.connected, &self.reason) {
            (true, _) => format!("Link {} is connected", self.name),
            (false, None) => format!("Link {} not connected", self.name),
            (false, Some(reason)) => format!("Link {} not connected ({reason})", self.name),
        }
    }

    /// The value of `Status` in the details
    pub(crate) fn state_text(&self) -> String {
        match (self.connected, &self.reason) {
            (true, _) => "Connected".to_owned(),
            (false, None) => "Not connected".to_owned(),
            (false, Some(reason)) => format!("Not connected ({reason})"),
        }
    }

    /// The table of `skupper link status <name> --verbose`
    pub(crate) fn details(&self) -> String {
        let row = |key: &str, value: String| (format!("{key}:"), value);
        let table = columns::tabbed(&[
            row("Cost", self.cost.to_string()),
            row("Created", go_time(&self.created)),
            row("Name", self.name.clone()),
            row("Site", self.site.clone()),
            row("Status", self.state_text()),
        ]);
        format!("\n{table}")
    }
}

impl LinksReport {
    /// The list of `skupper link status`
    pub(crate) fn list(&self, with_incoming: bool) -> String {
        let mut out = String::from("\nLinks created from this site:\n\n");
        if self.outgoing.is_empty() {
            out.push_str("\t There are no links configured or connected\n");
        }
        for link in &self.outgoing {
            out.push_str(&format!("\t {}\n", link.sentence()));
        }
        if with_incoming {
            out.push_str("\nCurrent links from other sites that are connected:\n\n");
            match self.incoming.as_deref() {
                None => out.push_str("\t Remote link status pending...\n"),
                Some([]) => out.push_str("\t There are no connected links\n"),
                Some(incoming) => {
                    for link in incoming {
                        out.push_str(&format!(
                            "\t A link from {}({}) is connected to this site\n",
                            link.site_name, link.site_id
                        ));
                    }
                }
            }
        }
        out
    }
}

/// RFC 3339 as Go prints a time: `2022-10-24 12:50:33 +0000 UTC`
fn go_time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => {
            // Whole seconds, as v1 shows them
            let utc = time.to_zoned(jiff::tz::TimeZone::UTC);
            utc.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(connected: bool, reason: Option<&str>) -> LinkReport {
        LinkReport {
            name: "link1".into(),
            connected,
            reason: reason.map(Into::into),
            host: Some("hub.example.com:55671".into()),
            cost: 2,
            created: "2022-10-24T11:50:33Z".into(),
            site: "host1-alice-5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11".into(),
        }
    }

    #[test]
    fn sentences() {
        assert_eq!(
            link(true, Some("old reason")).sentence(),
            "Link link1 is connected"
        );
        assert_eq!(link(false, None).sentence(), "Link link1 not connected");
        assert_eq!(
            link(false, Some("refused")).sentence(),
            "Link link1 not connected (refused)"
        );
    }

    #[test]
    fn the_table_of_details() {
        let text = link(true, None).details();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "");
        assert!(lines[1].starts_with(" Cost:\t\t2\t"), "{text:?}");
        assert!(
            lines[2].starts_with(" Created:\t2022-10-24 11:50:33 +0000 UTC\t"),
            "{text:?}"
        );
        assert!(lines[3].starts_with(" Name:\t\tlink1\t"), "{text:?}");
        assert!(
            lines[4].starts_with(" Site:\t\thost1-alice-5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11\t"),
            "{text:?}"
        );
        assert!(lines[5].starts_with(" Status:\tConnected\t"), "{text:?}");
        assert!(
            link(false, Some("refused"))
                .details()
                .contains("Not connected (refused)")
        );
    }

    #[test]
    fn lists() {
        let empty = LinksReport {
            outgoing: Vec::new(),
            incoming: Some(Vec::new()),
        };
        assert_eq!(
            empty.list(false),
            "\nLinks created from this site:\n\n\t There are no links configured or connected\n"
        );
        assert!(empty.list(true).ends_with(
            "\nCurrent links from other sites that are connected:\n\n\t There are no connected links\n"
        ));
        let report = LinksReport {
            outgoing: vec![link(true, None)],
            incoming: Some(vec![IncomingReport {
                site_name: "east".into(),
                site_id: "1537b82".into(),
            }]),
        };
        assert_eq!(
            report.list(true),
            "\nLinks created from this site:\n\n\t Link link1 is connected\n\
             \nCurrent links from other sites that are connected:\n\n\
             \t A link from east(1537b82) is connected to this site\n"
        );
        let silent = LinksReport {
            outgoing: Vec::new(),
            incoming: None,
        };
        assert!(
            silent
                .list(true)
                .ends_with("\t Remote link status pending...\n")
        );
    }
}
