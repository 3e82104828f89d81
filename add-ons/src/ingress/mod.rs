//! stub
use crate::{Connection, Container, Program};
use futures::future::BoxFuture;
use std::sync::Arc;
/// stub
pub struct Controller;
impl Controller {
    /// stub
    pub fn new(_: Container) -> Self {
        Self
    }
}
impl Program for Controller {
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
    fn serve(self: Arc<Self>, _: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
