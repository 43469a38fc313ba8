//! A neighbour that keeps what it is told.

use actix::prelude::*;
use logweir::telemetry::{ActorStats, Mailbox};
use std::{marker::PhantomData, time::Duration};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub struct Collector<M> {
    told: UnboundedSender<M>,
    kind: PhantomData<M>,
}

impl<M: Unpin + 'static> Actor for Collector<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Collector<M> {
    type Result = ();
    fn handle(&mut self, message: M, _: &mut Self::Context) {
        let _ = self.told.send(message);
    }
}

pub struct Collected<M>(UnboundedReceiver<M>);

impl<M> Collected<M> {
    pub async fn next(&mut self) -> M {
        let next = tokio::time::timeout(Duration::from_secs(60), self.0.recv()).await;
        next.expect("a message within a minute").expect("the collector lives")
    }

    pub fn is_empty(&mut self) -> bool {
        self.0.is_empty()
    }
}

/// Starts a collector for one kind of message.
pub fn collector<M: Message<Result = ()> + Unpin + Send + 'static>() -> (Mailbox<M>, Collected<M>) {
    let (told, collected) = unbounded_channel();
    let addr = Collector { told, kind: PhantomData }.start();
    (Mailbox::new(addr.recipient(), ActorStats::new("collector", 16)), Collected(collected))
}
