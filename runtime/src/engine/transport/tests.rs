use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::engine::testing::FakeEngine;

#[tokio::test]
async fn an_engine_that_never_answers_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let transport = Transport::new(Platform::Podman, Endpoint::Unix(path), false);
    let call = Call::get("/version").limit(Duration::from_millis(50));
    let error = transport.send(call).await.unwrap_err();
    assert_eq!(error.to_string(), "GET /version: no answer within 0 s");
}

#[tokio::test]
async fn a_connection_that_ends_early_names_the_call_without_its_query() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = Endpoint::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    let transport = Transport::new(Platform::Podman, endpoint, false);
    let closing = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request[..count]).into_owned();
        assert!(
            text.starts_with("GET /x?filters=a%26b%2F HTTP/1.1\r\n"),
            "{text}"
        );
    };
    let call = Call::get("/x").query("filters", "a&b/");
    let (answer, ()) = tokio::join!(transport.send(call), closing);
    let error = answer.unwrap_err();
    assert!(matches!(error, EngineError::Io { .. }), "{error:?}");
    assert!(error.to_string().starts_with("GET /x: "), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let fake = FakeEngine::start(|_| (200, "x".repeat(MAX_ANSWER + 1)));
    let error = fake.transport().send(Call::get("/x")).await.unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}

#[tokio::test]
async fn a_plain_text_refusal_is_shown_as_it_is() {
    let fake = FakeEngine::start(|_| (503, " busy \n".into()));
    let answer = fake.transport().send(Call::get("/x")).await.unwrap();
    assert_eq!(answer.refusal().to_string(), "GET /x: busy (status 503)");
}
