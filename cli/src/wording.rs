//! Sentences about the site as a whole, which scripts match.
//!
//! The default site belongs to the user and has the texts of Skupper's podman sites; a site in a namespace of its own
//! has those of a Kubernetes namespace.

use model::Namespace;

/// Who the site belongs to
#[derive(Clone, Debug)]
pub(crate) struct Wording {
    user: String,
    namespace: Option<String>,
}

impl Wording {
    /// `user` is the login name
    pub(crate) fn new(user: &str, namespace: &Namespace) -> Self {
        Self {
            user: user.chars().filter(|c| !c.is_whitespace()).collect(),
            namespace: (*namespace != Namespace::default()).then(|| namespace.to_string()),
        }
    }

    pub(crate) fn not_enabled(&self) -> String {
        match &self.namespace {
            None => format!("Skupper is not enabled for user '{}'", self.user),
            Some(namespace) => format!("Skupper is not enabled in namespace '{namespace}'"),
        }
    }

    pub(crate) fn already_initialized(&self) -> String {
        match &self.namespace {
            None => format!(
                "Skupper has already been initialized for user '{}'.",
                self.user
            ),
            Some(namespace) => {
                format!("Skupper has already been initialized in namespace '{namespace}'.")
            }
        }
    }

    pub(crate) fn installed(&self) -> String {
        let whose = match &self.namespace {
            None => format!("for user '{}'", self.user),
            Some(namespace) => format!("in namespace '{namespace}'"),
        };
        format!("Skupper is now installed {whose}.  Use 'skupper status' to get more information.")
    }

    /// As Skupper's podman sites said it
    pub(crate) fn linger_recommended(&self) -> String {
        format!(
            "It is recommended to enable lingering for {}, otherwise Skupper may not start on boot.",
            self.user
        )
    }

    pub(crate) fn removed(&self) -> String {
        match &self.namespace {
            None => format!("Skupper is now removed for user '{}'.", self.user),
            Some(namespace) => format!("Skupper is now removed from '{namespace}'."),
        }
    }

    /// `Skupper is enabled for …`, without the site's name when that says nothing new
    pub(crate) fn enabled(&self, site: &str) -> String {
        let owner = self.namespace.as_ref().unwrap_or(&self.user);
        let mut text = match &self.namespace {
            None => format!("Skupper is enabled for \"{owner}\""),
            Some(_) => format!("Skupper is enabled for namespace \"{owner}\""),
        };
        if !site.is_empty() && site != owner {
            text.push_str(&format!(" with site name \"{site}\""));
        }
        text
    }
}
