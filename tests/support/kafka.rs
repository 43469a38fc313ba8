//! Making topics, and reading everything that is in one.

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::BorrowedMessage,
};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Makes a topic; panics if it is there already.
pub fn create_topic(address: &str, topic: &str, partitions: i32) {
    create_topic_as(ClientConfig::new().set("bootstrap.servers", address), topic, partitions);
}

/// The same with a client that has to sign in.
pub fn create_topic_as(client: &ClientConfig, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = client.create().expect("an admin client");
    let topics = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let made = runtime.block_on(admin.create_topics(&topics, &options)).expect("create_topics");
    for result in made {
        result.unwrap_or_else(|(name, code)| panic!("topic {name} could not be made: {code}"));
    }
}

/// The broker refuses batches of more bytes from now on.
pub fn limit_batches(address: &str, topic: &str, bytes: u32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", address).create().expect("an admin client");
    let bytes = bytes.to_string();
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for result in runtime.block_on(admin.alter_configs([&config], &options)).expect("alter_configs") {
        result.unwrap_or_else(|(name, code)| panic!("{name:?} could not be changed: {code}"));
    }
}

/// Removes a topic, so that its disk space is free again soon.
pub fn delete_topic(address: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", address).create().expect("an admin client");
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for result in runtime.block_on(admin.delete_topics(&[topic], &options)).expect("delete_topics") {
        result.unwrap_or_else(|(name, code)| panic!("topic {name} could not be removed: {code}"));
    }
}

/// Reads a topic from its first record on, without a group.
pub struct TopicReader {
    consumer: BaseConsumer,
    topic: String,
    /// Next offset per partition.
    next: Vec<i64>,
}

impl TopicReader {
    pub fn new(address: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", "test-reader")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            .set("reconnect.backoff.max.ms", "1000")
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("the topic's metadata");
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        assert!(partitions > 0, "topic {topic} has no partitions");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition to read");
        }
        consumer.assign(&list).expect("assign partitions");
        Self { consumer, topic: topic.to_owned(), next: vec![0; partitions] }
    }

    /// Hands over every record up to the present end of the topic. Outages of the broker are waited for.
    pub fn read_to_end(&mut self, mut each: impl FnMut(&BorrowedMessage)) {
        let ends = self.ends();
        let mut quiet_since = Instant::now();
        while self.next.iter().zip(&ends).any(|(next, end)| next < end) {
            // An error is a lost connection or the like: the client reconnects by itself.
            if let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(500)) {
                self.next[record.partition() as usize] = record.offset() + 1;
                each(&record);
                quiet_since = Instant::now();
            }
            let topic = &self.topic;
            assert!(quiet_since.elapsed() < LIMIT, "no record of {topic} for a minute: at {:?} of {ends:?}", self.next);
        }
    }

    /// Hands over every record as it comes, until `each` says that it has enough (false). Panics after `limit` without one.
    pub fn follow(&mut self, limit: Duration, mut each: impl FnMut(&BorrowedMessage) -> bool) {
        let mut quiet_since = Instant::now();
        loop {
            if let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(500)) {
                self.next[record.partition() as usize] = record.offset() + 1;
                quiet_since = Instant::now();
                if !each(&record) {
                    return;
                }
            }
            assert!(quiet_since.elapsed() < limit, "no record of {} for {} s", self.topic, limit.as_secs());
        }
    }

    /// Offset after the last record, per partition.
    pub fn ends(&self) -> Vec<i64> {
        let high = |partition| {
            super::wait_for("a partition's end", LIMIT, || {
                self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(5)).ok()
            })
        };
        (0..self.next.len() as i32).map(|partition| high(partition).1).collect()
    }
}

/// Records of `topic` that the consumer group hasn't committed yet.
pub fn group_lag(address: &str, group: &str, topic: &str) -> i64 {
    let ends = TopicReader::new(address, topic).ends();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", group)
        .create()
        .expect("a consumer that never subscribes");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, ends.len() as i32 - 1);
    let committed = super::wait_for("the group's offsets", LIMIT, || {
        consumer.committed_offsets(list.clone(), Duration::from_secs(5)).ok()
    });
    let behind = |(partition, end): (usize, &i64)| {
        let offset = committed.find_partition(topic, partition as i32).map(|found| found.offset());
        match offset {
            Some(Offset::Offset(offset)) => end - offset,
            _ => *end,
        }
    };
    ends.iter().enumerate().map(behind).sum()
}
