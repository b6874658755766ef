use hyper::StatusCode;

use super::container::not_found;
use super::path;
use crate::engine::EngineError;
use crate::engine::transport::{Call, Transport, encode};

pub(super) async fn tail(
    transport: &Transport,
    name: &str,
    lines: usize,
) -> Result<String, EngineError> {
    let call = Call::get(path(&format!("/containers/{}/logs", encode(name))))
        .query("stdout", "true")
        .query("stderr", "true")
        .query("follow", "false")
        .query("tail", lines.to_string());
    let answer = transport.send(call).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Err(not_found(name)),
        status if status.is_success() => {
            Ok(String::from_utf8_lossy(&payloads(&answer.body)).into_owned())
        }
        _ => Err(answer.refusal()),
    }
}

/// Joins the payloads of a multiplexed stream: frames of stream (0 to 2), three zeros, 32-bit big-endian length,
/// payload. What is not framed so is text already (containers with a terminal).
fn payloads(mut stream: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(stream.len());
    while let [0..=2, 0, 0, 0, a, b, c, d, rest @ ..] = stream {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (payload, after) = rest.split_at(length.min(rest.len()));
        joined.extend_from_slice(payload);
        stream = after;
    }
    joined.extend_from_slice(stream);
    joined
}

#[cfg(test)]
mod tests {
    use super::payloads;

    #[test]
    fn frames_of_both_streams_are_joined_in_order() {
        let mut stream = vec![1, 0, 0, 0, 0, 0, 0, 2, b'a', b'\n'];
        stream.extend([2, 0, 0, 0, 0, 0, 0, 1, b'b']);
        stream.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        stream.extend([1, 0, 0, 0, 0, 0, 0, 9, b'c', b'u', b't']);
        assert_eq!(payloads(&stream), b"a\nbcut");
    }

    #[test]
    fn unframed_text_passes_as_it_is() {
        assert_eq!(payloads(b"plain\n"), b"plain\n");
        assert_eq!(payloads(b""), b"");
    }
}
