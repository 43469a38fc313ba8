//! The thread that hears from librdkafka. The problem: thousands of delivery reports a second must not pass through
//! a mailbox. So a batch whose lines are all acknowledged is settled right here; only what needs a decision (a line
//! refused, a topic that has room again, a client that failed) becomes a [`Notice`].

use super::{ErrorCode, ErrorKind, Landed, Unsettled, config::ProducerOptions, native};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// What the thread can't decide by itself.
#[derive(Debug)]
pub enum Notice {
    /// A sending came back with something to do.
    Landed(Box<Landed>),
    /// The topic waited for its lines to be delivered, and they are.
    Room(Arc<str>),
    /// The client is at its end.
    Fatal { code: ErrorCode, text: String },
    /// The thread ends; no further notice comes. `lost`: some batches could not be got back from librdkafka.
    Gone { lost: bool },
}

/// A running client and its thread. Dropping it asks the thread to end, which gives up what is on its way.
#[derive(Debug)]
pub struct Link {
    client: Arc<native::Client>,
    stop: Arc<AtomicBool>,
}

/// Without an event the thread looks up this often; it is woken for anything that matters.
const POLL: Duration = Duration::from_secs(1);

/// How long purged batches may take to come back.
const PURGE_DEADLINE: Duration = Duration::from_secs(10);

impl Link {
    /// Makes a client and starts its thread. `notify` is called from that thread.
    ///
    /// # Errors
    /// Options that librdkafka doesn't take, or no thread to be had.
    pub fn start(
        options: &ProducerOptions,
        unsettled: Arc<Unsettled>,
        notify: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self, native::ClientError> {
        let client = native::Client::producer(options)?;
        let stop = Arc::new(AtomicBool::new(false));
        let listener = Listener { client: Some(client.clone()), stop: stop.clone(), unsettled, notify, lost: true };
        let spawned: io::Result<_> = thread::Builder::new().name("kafka-deliveries".into()).spawn(|| listener.run());
        spawned.map_err(|error| native::ClientError::Create(format!("no thread: {error}")))?;
        Ok(Self { client, stop })
    }

    pub fn client(&self) -> &Arc<native::Client> {
        &self.client
    }

    /// Gives up everything on its way; it comes back by notices, the last of which is [`Notice::Gone`].
    pub fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.client.wake();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Listener<N: Fn(Notice)> {
    /// Taken at the end.
    client: Option<Arc<native::Client>>,
    stop: Arc<AtomicBool>,
    unsettled: Arc<Unsettled>,
    notify: N,
    lost: bool,
}

impl<N: Fn(Notice)> Listener<N> {
    fn run(mut self) {
        let Some(client) = self.client.clone() else { return };
        while !self.stop.load(SeqCst) {
            self.hear(client.poll(POLL));
        }
        client.purge();
        let deadline = Instant::now() + PURGE_DEADLINE;
        while !client.is_idle() && Instant::now() < deadline {
            self.hear(client.poll(Duration::from_millis(100)));
        }
        self.lost = !client.is_idle();
    }

    fn hear(&self, event: Option<native::Event>) {
        match event {
            Some(native::Event::Landed(landed)) => landed.into_iter().for_each(|landed| self.landed(landed)),
            Some(native::Event::Log { level, facility, text }) => log(level, &facility, &text),
            Some(native::Event::Error { code, text, fatal: true }) => (self.notify)(Notice::Fatal { code, text }),
            Some(native::Event::Error { code, text, fatal: false }) => {
                self.unsettled.counters().error(ErrorKind::Broker, 1);
                complain(code, &text);
            }
            None => {}
        }
    }

    fn landed(&self, landed: Landed) {
        if !landed.is_clean() {
            return (self.notify)(Notice::Landed(Box::new(landed)));
        }
        let (flow, load) = (landed.flight.flow.clone(), landed.flight.load);
        flow.delivered();
        crate::crash::point("delivered");
        self.unsettled.settle(landed.flight.batch, 0);
        if flow.take_off(load) {
            (self.notify)(Notice::Room(flow.topic.clone()));
        }
    }
}

impl<N: Fn(Notice)> Drop for Listener<N> {
    /// Also after a panic: the actor must hear that nobody listens any more.
    fn drop(&mut self) {
        (self.notify)(Notice::Gone { lost: self.lost });
        // Destroying a client waits for its threads, so the last to let go should be this thread and not the actor's.
        let deadline = Instant::now() + PURGE_DEADLINE;
        if let Some(client) = self.client.take() {
            while Arc::strong_count(&client) > 1 && Instant::now() < deadline {
                drop(client.poll(Duration::from_millis(10)));
            }
        }
    }
}

/// A line of librdkafka's log, `level` as in syslog. A lost connection is an "error" there and heals here: WARN. The
/// program's log folds repeats of one kind.
fn log(level: i32, facility: &str, text: &str) {
    match level {
        ..=2 => slog_scope::error!("librdkafka"; "kind" => facility, "text" => text),
        3 | 4 => slog_scope::warn!("librdkafka"; "kind" => facility, "text" => text),
        5 | 6 => slog_scope::info!("librdkafka"; "kind" => facility, "text" => text),
        _ => slog_scope::debug!("librdkafka"; "kind" => facility, "text" => text),
    }
}

fn complain(code: ErrorCode, text: &str) {
    if code.is_connection() {
        slog_scope::warn!("no Kafka broker answers, waiting"; "reason" => %code, "text" => text);
    } else {
        slog_scope::error!("the Kafka client complains"; "reason" => %code, "text" => text);
    }
}
