//! Reads the engines' error prose where the status code does not tell failures apart.

/// What an engine's message is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// With the network's name where the message has it.
    NetworkMissing(Option<String>),
    ImageMissing,
    NameTaken,
    PortInUse(u16),
    PortNotPermitted(u16),
    Other,
}

/// Sorts the messages of netavark, CNI, rootlessport, slirp4netns, pasta and docker-proxy.
pub(crate) fn classify(message: &str) -> Failure {
    let text = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let port = port_of(&text);
    if any(&["address already in use", "port is already allocated"])
        && let Some(port) = port
    {
        return Failure::PortInUse(port);
    }
    let bind_failed = any(&["cannot assign requested address"])
        || (any(&["permission denied"]) && any(&["bind", "listen"]));
    if (any(&["cannot expose privileged port"]) || bind_failed)
        && let Some(port) = port
    {
        return Failure::PortNotPermitted(port);
    }
    if any(&["network not found", "unable to find network"]) {
        return Failure::NetworkMissing(word_after(message, "name or ID "));
    }
    if text.starts_with("network ") && text.ends_with(" not found") {
        return Failure::NetworkMissing(word_after(message, "network "));
    }
    if any(&["no such image", "image not known"]) {
        return Failure::ImageMissing;
    }
    if any(&["name is already in use", "already in use by"]) {
        return Failure::NameTaken;
    }
    Failure::Other
}

fn word_after(message: &str, words: &str) -> Option<String> {
    let (_, rest) = message.split_once(words)?;
    let word = rest.split([' ', ':']).next()?;
    (!word.is_empty()).then(|| word.to_owned())
}

/// Host port the message names: after `bind port` (pasta, which goes on with the container's), after `address:` or
/// `[address]:`, else after the word `port`.
fn port_of(text: &str) -> Option<u16> {
    let number = |rest: &str| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u16>().ok().filter(|&port| port != 0)
    };
    let after = |words: &str| {
        text.match_indices(words)
            .find_map(|(at, word)| number(&text[at + word.len()..]))
    };
    // An address ends in a digit, `]` or, for the empty host, white space; a time like 12:30 would too, so the last one counts.
    let mut after_colon = text.match_indices(':').filter_map(|(at, _)| {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        (before.is_ascii_digit() || before == ']' || before == ' ')
            .then(|| number(&text[at + 1..]))
            .flatten()
    });
    after("bind port ")
        .or_else(|| after_colon.next_back())
        .or_else(|| after("port "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_port_publisher_are_understood() {
        use Failure::{PortInUse, PortNotPermitted};
        for (message, failure) in [
            (
                "cannot listen on the TCP port: listen tcp4 :55671: bind: address already in use",
                PortInUse(55671),
            ),
            (
                "rootlessport listen tcp 0.0.0.0:8080: bind: address already in use",
                PortInUse(8080),
            ),
            (
                "rootlessport listen tcp [::1]:8080: bind: address already in use",
                PortInUse(8080),
            ),
            (
                "driver failed programming external connectivity on endpoint x (0a1b): Error starting userland proxy: \
                 listen tcp4 0.0.0.0:8080: bind: address already in use",
                PortInUse(8080),
            ),
            (
                "driver failed programming external connectivity on endpoint x (0a1b): Bind for 127.0.0.1:8080 failed: \
                 port is already allocated",
                PortInUse(8080),
            ),
            (
                "pasta failed with exit code 1: Failed to bind port 8080 (Address already in use) for option '-t 0.0.0.0/8080-8080:80-80'",
                PortInUse(8080),
            ),
            (
                "rootlessport cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80' to \
                 /etc/sysctl.conf (currently 1024), or choose a larger port number (>= 1024): listen tcp 0.0.0.0:80: bind: \
                 permission denied",
                PortNotPermitted(80),
            ),
            (
                "cannot listen on the TCP port: listen tcp4 192.0.2.7:9000: bind: cannot assign requested address",
                PortNotPermitted(9000),
            ),
            (
                "unable to find network with name or ID x: network not found",
                Failure::NetworkMissing(Some("x".to_owned())),
            ),
            (
                "network x not found",
                Failure::NetworkMissing(Some("x".to_owned())),
            ),
            ("localhost/x: image not known", Failure::ImageMissing),
            (
                "the container name \"x\" is already in use by 0a1b. You have to remove that container to be able to reuse \
                 that name: that name is already in use",
                Failure::NameTaken,
            ),
            ("address already in use", Failure::Other),
            ("setrlimit: permission denied at 12:30", Failure::Other),
        ] {
            assert_eq!(classify(message), failure, "{message}");
        }
    }
}
