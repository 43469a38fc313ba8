//! An orderly stop, in the order that the data flows: nothing is read any more, what was read is delivered, what was
//! delivered is written down, and then the process says that it is gone. Each step has its part of the deadline; what
//! doesn't make it is pending in the journal and sent again after the next start.

use crate::{messages::Shutdown, telemetry::Mailbox};
use std::time::Duration;
use tokio::time::Instant;

/// One child to be stopped, if it runs, and the part of the whole deadline by which it has to be done.
pub struct Step {
    pub name: &'static str,
    pub mailbox: Option<Mailbox<Shutdown>>,
    /// From the begin of the stop, 0 to 1.
    pub until: f64,
}

/// Stops the children one after the other, within `deadline` in all. Answers those that were too slow.
pub async fn stop_in_order(steps: Vec<Step>, deadline: Duration) -> Vec<&'static str> {
    let begin = Instant::now();
    let mut slow = Vec::new();
    for step in steps {
        let Step { name, mailbox: Some(mailbox), until } = step else { continue };
        let until = begin + deadline.mul_f64(until.clamp(0.0, 1.0));
        match tokio::time::timeout_at(until, mailbox.send(Shutdown)).await {
            Ok(Ok(())) => slog_scope::debug!("stopped"; "actor" => name),
            // It has stopped by itself, or it panicked: there is nothing to wait for.
            Ok(Err(_)) => slog_scope::debug!("had stopped"; "actor" => name),
            Err(_) => {
                slog_scope::warn!("not done in time, its work goes on after the next start"; "actor" => name);
                slow.push(name);
            }
        }
    }
    slow
}

/// The handlers of an actor that has nothing to finish: it stops when asked to, and panics when a test asks for that. Its
/// `stopped()` reports `orderly`.
macro_rules! stops_at_once {
    ($actor:ty) => {
        impl actix::Handler<crate::messages::Shutdown> for $actor {
            type Result = ();

            fn handle(&mut self, _: crate::messages::Shutdown, ctx: &mut Self::Context) {
                let stats = self.stats.clone();
                let _handling = stats.handling();
                self.orderly = true;
                actix::ActorContext::stop(ctx);
            }
        }

        impl actix::Handler<crate::messages::InjectPanic> for $actor {
            type Result = ();

            fn handle(&mut self, _: crate::messages::InjectPanic, _: &mut Self::Context) {
                let stats = self.stats.clone();
                let _handling = stats.handling();
                panic!("injected into {}", Self::KIND);
            }
        }
    };
}
pub(super) use stops_at_once;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ActorStats;
    use actix::prelude::*;
    use std::sync::{Arc, Mutex};

    type Order = Arc<Mutex<Vec<&'static str>>>;

    struct Fake {
        name: &'static str,
        takes: Duration,
        order: Order,
    }
    impl Actor for Fake {
        type Context = Context<Self>;
    }
    impl Handler<Shutdown> for Fake {
        type Result = ResponseFuture<()>;
        fn handle(&mut self, _: Shutdown, _: &mut Context<Self>) -> Self::Result {
            let (name, takes, order) = (self.name, self.takes, self.order.clone());
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                order.lock().unwrap().push(name);
            })
        }
    }

    fn step(name: &'static str, takes: u64, until: f64, order: &Order) -> Step {
        let fake = Fake { name, takes: Duration::from_secs(takes), order: order.clone() }.start();
        Step { name, mailbox: Some(Mailbox::new(fake.recipient(), ActorStats::new(name, 16))), until }
    }

    #[actix_rt::test]
    async fn one_after_the_other_and_one_that_hangs_does_not_cost_the_others_their_time() {
        crate::telemetry::init_for_tests();
        tokio::time::pause();
        let order = Order::default();
        let steps = vec![
            step("watcher", 1, 0.2, &order),
            step("tails", 3600, 0.6, &order),
            Step { name: "gone", mailbox: None, until: 0.7 },
            step("journal", 2, 0.9, &order),
        ];
        let begin = Instant::now();
        let slow = stop_in_order(steps, Duration::from_secs(10)).await;
        assert_eq!(slow, ["tails"]);
        assert_eq!(*order.lock().unwrap(), ["watcher", "journal"]);
        assert_eq!(begin.elapsed().as_secs(), 8);
    }
}
