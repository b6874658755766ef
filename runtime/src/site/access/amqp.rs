//! Placeholder while the router crate does not compile; replaced by the management client.
use super::{AccessError, BoxFuture, RouterAccess, RouterSession};
use std::path::Path;
#[derive(Clone, Copy, Debug, Default)]
pub struct AmqpAccess;
impl RouterAccess for AmqpAccess {
    fn open<'a>(
        &'a self,
        socket: &'a Path,
    ) -> BoxFuture<'a, Result<Box<dyn RouterSession>, AccessError>> {
        Box::pin(async move {
            Err(AccessError::NotRunning {
                socket: socket.display().to_string(),
            })
        })
    }
}
