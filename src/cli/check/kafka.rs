//! Asks Kafka what `topics` judges. The problem: librdkafka retries behind one's back and at the end only says that it
//! failed; why stands in its error events, so those are listened to. Nothing is written and no group is joined.

use super::{
    report::{Fault, Report},
    topics::{self, CHECK, Limits, Partitions, Wanted},
};
use crate::{
    kafka::{ErrorCode, config},
    settings::Options,
};
use futures_util::{StreamExt as _, future::join_all, stream};
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{Metadata, MetadataTopic},
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Questions under way at the same time.
const AT_ONCE: usize = 8;
/// Until a question is asked again that nobody could answer yet.
const AGAIN: Duration = Duration::from_millis(100);
/// Error events that are listened to after an answer.
const EVENTS: usize = 32;
const MAY_NOT_ASK: &str = "allow this user DescribeConfigs to have the limits checked";
const LOOK: &str =
    "check [kafka] brokers and options, the network, and that the brokers' advertised addresses are reachable";

/// What librdkafka said last.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        // What matters comes as an error event, too.
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down is the consequence, not the reason.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl ConsumerContext for Heard {}

impl Heard {
    fn with(&self, error: &KafkaError) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let error = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        if heard.is_empty() { error } else { format!("{error}: {heard}") }
    }
}

/// How Kafka is reached.
pub struct Access {
    pub brokers: Vec<String>,
    pub options: BTreeMap<String, String>,
    /// The transfer's consumer group.
    pub group: Option<String>,
    /// Of each question.
    pub deadline: Duration,
}

type Admin = Arc<AdminClient<Heard>>;

impl Access {
    /// # Errors
    /// An option that is refused, without its value.
    fn config(&self) -> Result<ClientConfig, String> {
        config::check(&self.options).map_err(|refused| refused.to_string())?;
        let mut config = ClientConfig::new();
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config.set("bootstrap.servers", self.brokers.join(",")).set_log_level(RDKafkaLogLevel::Warning);
        if let Some(group) = &self.group {
            config.set("group.id", group).set("enable.auto.commit", "false").set("allow.auto.create.topics", "false");
        }
        Ok(config)
    }

    /// Reaches the brokers and judges the topics.
    pub async fn check(&self, wanted: &[Wanted]) -> Report {
        let mut report = Report::default();
        let heard = Heard::default();
        let made = self.config().and_then(|config| {
            let admin = config.create_with_context::<_, AdminClient<Heard>>(heard.clone()).map_err(|e| refusal(&e))?;
            Ok((config, Arc::new(admin)))
        });
        let (config, admin) = match made {
            Ok(made) => made,
            Err(reason) => {
                report.fail(CHECK, Fault::Settings, reason, "correct [kafka.options]");
                return report;
            }
        };
        let Some(metadata) = self.metadata(&config, heard, &mut report).await else { return report };
        let defaults = self.brokers(&admin, &metadata, &mut report).await;
        self.topics(&admin, &metadata, defaults, wanted, &mut report).await;
        if let Some(group) = &self.group {
            let topics = wanted.iter().filter(|topic| !topic.written).map(|topic| topic.name.clone());
            let known = |name: &String| metadata.topics().iter().any(|topic| topic.name() == name);
            self.group(config, group, topics.filter(known).collect(), &mut report).await;
        }
        report
    }

    /// All topics: asking for one by name could create it. By a producer, because only who polls hears of errors, and an
    /// admin client's own polling leaves them out.
    async fn metadata(&self, config: &ClientConfig, heard: Heard, report: &mut Report) -> Option<Metadata> {
        let (config, context, deadline) = (config.clone(), heard.clone(), self.deadline);
        let ask = move || {
            let producer: BaseProducer<Heard> = config.create_with_context(context)?;
            let answer = producer.client().fetch_metadata(None, deadline);
            (0..EVENTS).for_each(|_| {
                producer.poll(Duration::ZERO);
            });
            answer
        };
        let answer = tokio::task::spawn_blocking(ask).await;
        let reason = match answer {
            Ok(Ok(metadata)) => {
                let (brokers, topics) = (metadata.brokers().len(), metadata.topics().len());
                let text = format!("{}: brokers: {brokers}, topics: {topics}", self.brokers.join(","));
                report.ok(CHECK, text);
                return Some(metadata);
            }
            Ok(Err(error)) => heard.with(&error),
            Err(error) => error.to_string(),
        };
        let text = format!("{}: no answer within {:?}: {reason}", self.brokers.join(","), self.deadline);
        report.fail(CHECK, Fault::Server, text, LOOK);
        None
    }

    async fn describe(&self, admin: &Admin, what: ResourceSpecifier<'_>) -> Result<ConfigResource, RDKafkaErrorCode> {
        let options = AdminOptions::new().request_timeout(Some(self.deadline));
        let answer = admin.describe_configs([&what], &options).await;
        let failed = |error| match error {
            KafkaError::AdminOp(code) => code,
            other => other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        answer.map_err(failed)?.pop().unwrap_or(Err(RDKafkaErrorCode::Unknown))
    }

    /// Asks each broker itself: the answer tells whether it can be reached from here. What new topics would be like.
    async fn brokers(&self, admin: &Admin, metadata: &Metadata, report: &mut Report) -> Option<Limits> {
        let asked = metadata.brokers().iter().map(async |broker| {
            (
                format!("broker {} at {}:{}", broker.id(), broker.host(), broker.port()),
                self.describe(admin, ResourceSpecifier::Broker(broker.id())).await,
            )
        });
        let (mut defaults, mut refused) = (None, None);
        for (broker, answer) in join_all(asked).await {
            match answer {
                Ok(config) => {
                    defaults.get_or_insert(Limits::of(&config));
                }
                Err(code) if is_silence(code) => {
                    report.fail(CHECK, Fault::Server, format!("{broker}: {code}"), LOOK);
                }
                // It answers, only not this question: not allowed, or not known to it.
                Err(code) => refused = Some(code),
            }
        }
        if let Some(code) = refused.filter(|_| defaults.is_none()) {
            let text = format!("the brokers' defaults for new topics can't be asked: {code}");
            report.warn(CHECK, text, MAY_NOT_ASK);
        }
        defaults
    }

    async fn topics(
        &self,
        admin: &Admin,
        metadata: &Metadata,
        defaults: Option<Limits>,
        wanted: &[Wanted],
        report: &mut Report,
    ) {
        let asked = wanted.iter().map(async |topic| {
            let there = metadata.topics().iter().find(|there| there.name() == topic.name);
            let partitions = there.filter(|there| there.error().is_none()).map(partitions);
            (topic, partitions, self.describe(admin, ResourceSpecifier::Topic(&topic.name)).await)
        });
        let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        for (topic, partitions, config) in answers {
            let name = &topic.name;
            match (partitions, config) {
                (Some(partitions), Ok(config)) => {
                    topics::existing(topic, partitions, Some(Limits::of(&config)), report);
                }
                (Some(partitions), Err(code)) => {
                    topics::existing(topic, partitions, None, report);
                    let text = format!("topic {name}: its configuration can't be asked: {code}");
                    report.warn(CHECK, text, MAY_NOT_ASK);
                }
                (None, Err(code)) if is_denied(code) => {
                    let text = format!("topic {name}: doesn't exist, or this user may not see it: {code}");
                    let advice = if topic.written { "allow this user Write" } else { "allow this user Read" };
                    report.fail(CHECK, Fault::Server, text, advice);
                }
                (None, _) => topics::missing(topic, defaults, report),
            }
        }
    }

    /// What a consumer of the group may do, as far as it can be seen without becoming one.
    async fn group(&self, config: ClientConfig, group: &str, topics: Vec<String>, report: &mut Report) {
        let (deadline, name) = (self.deadline, group.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<Heard> = config.create_with_context(Heard::default())?;
            let mut list = TopicPartitionList::new();
            for topic in &topics {
                list.add_partition(topic, 0);
            }
            if !topics.is_empty() {
                committed(&consumer, &list, deadline)?;
            }
            let list = consumer.fetch_group_list(Some(&name), deadline)?;
            Ok(list
                .groups()
                .iter()
                .find(|one| one.name() == name)
                .map(|one| (one.state().to_owned(), one.members().len())))
        });
        let found: Result<Option<(String, usize)>, KafkaError> = match asked.await {
            Ok(found) => found,
            Err(error) => return report.warn(CHECK, format!("group {group}: {error}"), LOOK),
        };
        match found {
            Ok(Some((state, members))) if members > 0 => {
                report.ok(CHECK, format!("group {group}: members: {members}, state: {state}"));
            }
            Ok(_) => report.ok(CHECK, format!("group {group}: nobody consumes now")),
            Err(error) => {
                let code = error.rdkafka_error_code();
                let why = code.map_or_else(|| error.to_string(), |code| code.to_string());
                let advice =
                    if code.is_some_and(is_denied) { "allow this user Read on the group and its topics" } else { LOOK };
                report.fail(CHECK, Fault::Server, format!("group {group}: {why}"), advice);
            }
        }
    }
}

/// Whether the group's positions can be had. A cluster that is asked for a group's coordinator for the first time makes one
/// and answers meanwhile that there is none.
fn committed(
    consumer: &BaseConsumer<Heard>,
    topics: &TopicPartitionList,
    deadline: Duration,
) -> Result<(), KafkaError> {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let end = Instant::now() + deadline;
    loop {
        let told = consumer.committed_offsets(topics.clone(), end.saturating_duration_since(Instant::now()));
        let told = told.and_then(|list| list.elements().iter().try_for_each(|one| one.error()));
        match told.as_ref().map_err(KafkaError::rdkafka_error_code) {
            Err(Some(CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator))
                if Instant::now() + AGAIN < end =>
            {
                std::thread::park_timeout(AGAIN);
            }
            _ => return told,
        }
    }
}

fn is_denied(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(code, ClusterAuthorizationFailed | GroupAuthorizationFailed | TopicAuthorizationFailed)
}

/// There was no answer at all.
fn is_silence(code: RDKafkaErrorCode) -> bool {
    ErrorCode(code as i32).is_connection() || code == RDKafkaErrorCode::RequestTimedOut
}

/// An option that librdkafka refuses. Its own sentence repeats the value.
fn refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) if Options::is_secret(name) => format!("option {name} is refused"),
        KafkaError::ClientConfig(_, reason, name, _) => format!("option {name}: {reason}"),
        other => other.to_string(),
    }
}

fn partitions(topic: &MetadataTopic) -> Partitions {
    let all = topic.partitions();
    Partitions {
        count: all.len(),
        replicas: all.iter().map(|one| one.replicas().len()).min().unwrap_or(0),
        in_sync: all.iter().map(|one| one.isr().len()).min().unwrap_or(0),
        without_leader: all.iter().filter(|one| one.leader() < 0).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    async fn checked(brokers: &str, options: &[(&str, &str)], wanted: &[Wanted]) -> Report {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let deadline = Duration::from_secs(1);
        Access { brokers: vec![brokers.into()], options, group: Some("g".into()), deadline }.check(wanted).await
    }

    #[actix_rt::test]
    async fn an_option_that_is_refused_is_named_and_no_secret_is_told() {
        for (name, value) in [("acks", "1"), ("no.such.option", "s3cret"), ("security.protocol", "nonsense")] {
            let report = checked("127.0.0.1:1", &[(name, value)], &[]).await;
            assert_eq!(report.exit(), Exit::Config);
            assert!(report.text().contains(name) && !report.text().contains("s3cret"), "{}", report.text());
        }
    }

    #[actix_rt::test]
    async fn a_closed_port_is_told_with_the_reason() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let report = checked(&port.to_string(), &[], &[]).await;
        assert_eq!(report.exit(), Exit::Unavailable);
        assert!(report.text().contains("Connection refused"), "{}", report.text());
    }

    #[actix_rt::test]
    async fn a_cluster_that_answers_is_asked_for_its_topics() {
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let wanted = |name: &str| Wanted { name: name.into(), longest_line: None, written: false };
        let report = checked(&cluster.bootstrap_servers(), &[], &[wanted("t"), wanted("none")]).await;
        let text = report.text();
        assert!(text.contains("topic t: partitions: 2, replicas: 1"), "{text}");
        assert!(text.contains("topic none: doesn't exist"), "{text}");
    }
}
