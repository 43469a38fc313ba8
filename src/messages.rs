//! Every message between actors, in the order that data flows. One message carries data forward ([`LineBatch`]) and
//! one comes back ([`Settled`]); the rest is control: small, rare, and never waited for by data.

use crate::{
    collection::{CollectionDiff, Delivery, Refusal},
    elastic::ElasticConfig,
    flow::{Chunk, Credit, EntryId, FileId, Origin, OriginId},
    journal::{FileRecord, JournalError, NewFile, Range},
    telemetry::Mailbox,
};
use actix::prelude::*;
use std::{path::PathBuf, sync::Arc};

// ---- data -----------------------------------------------------------------------------------------------------------

/// One line (or one part of a line that is longer than `max_line_bytes`) within the bytes of its batch, without its
/// line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// First byte within [`LineBatch::data`]. For a file, its position in the file is the batch's `begin` plus this.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
    pub part: Part,
}

/// Which piece of a line this is (Kafka header `part`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Part {
    /// The line is whole: no header.
    #[default]
    Whole,
    /// Counted from 1, more follow.
    Nth(u32),
    /// The last piece of a line that was split.
    Last,
}

/// What a Kafka record has beside its value; parallel to [`LineBatch::lines`] for a partition, empty for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kafka's record offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970; the read time of a record that isn't ours.
    pub timestamp_ms: i64,
    /// First byte and length of the record's key within [`LineBatch::data`]; `None` for a record without a key.
    pub key: Option<(u32, u32)>,
}

/// One chunk of bytes from one origin. A sink settles it, exactly once, by [`Settled`] to `settle_to`, and drops it.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct LineBatch {
    pub origin: Origin,
    /// Number of this batch within its origin, rising; it is what [`Settled`] names.
    pub seq: u64,
    /// File: position of the first byte. Partition: first record offset.
    pub begin: u64,
    /// File: position after the last byte (line end included). Partition: record offset after the last one.
    pub end: u64,
    /// When a file's bytes were first read, milliseconds since 1970 (READ_MS); the same when sent again. 0 for a
    /// partition, whose records carry their own.
    pub read_ms: u64,
    pub data: Chunk,
    pub lines: Vec<Line>,
    /// See [`Record`].
    pub records: Vec<Record>,
    pub credit: Credit,
    pub settle_to: Mailbox<Settled>,
}

impl LineBatch {
    /// The bytes of a line of this batch.
    pub fn bytes(&self, line: &Line) -> &[u8] {
        &self.data[line.start as usize..][..line.len as usize]
    }

    /// The [`Settled`] of this batch.
    pub fn settled(&self, dead: u32) -> Settled {
        Settled { origin: self.origin.id(), seq: self.seq, delivered: self.lines.len() as u32 - dead, dead }
    }
}

/// This batch is done: every line is delivered or in the dead letters. Nothing else settles.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct Settled {
    pub origin: OriginId,
    pub seq: u64,
    /// Lines that arrived.
    pub delivered: u32,
    /// Lines that went to the dead letters.
    pub dead: u32,
}

// ---- journal (agent) ------------------------------------------------------------------------------------------------

/// Draw identities for these files and write them to the disk. The answer comes after the sync, so that no line is
/// ever sent under an identity that a crash forgets.
#[derive(Message, Debug)]
#[rtype(result = "Result<Vec<FileRecord>, JournalError>")]
pub struct RegisterFiles(pub Vec<NewFile>);

/// Journal this range; the answer is the `seq` under which it is sent and settled.
#[derive(Message, Debug)]
#[rtype(result = "Result<u64, JournalError>")]
pub struct AppendRange {
    pub file: OriginId,
    pub range: Range,
}

/// What the journal knows of this file now: position, pending ranges.
#[derive(Message, Debug)]
#[rtype(result = "Option<FileRecord>")]
pub struct LookUpFile(pub OriginId);

/// All files that the journal knows.
#[derive(Message, Debug)]
#[rtype(result = "Vec<FileRecord>")]
pub struct ListFiles;

/// Answers when all ranges of the file that are journalled by now are settled and that is written down.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct AwaitSettled(pub OriginId);

/// The file has another name now, or its head has grown to the 64 bytes it is recognised by.
#[derive(Message, Debug)]
#[rtype(result = "Result<(), JournalError>")]
pub struct UpdateFile {
    pub file: OriginId,
    pub path: Option<PathBuf>,
    pub head: Option<crate::journal::Fingerprint>,
}

/// Nothing will ever be read from this file again (deleted, or its content replaced), and its ranges are settled.
#[derive(Message, Debug)]
#[rtype(result = "Result<(), JournalError>")]
pub struct ForgetFile(pub OriginId);

/// An entry (by its stable key: pattern and topic) has been applied for the first time, so `start = "end"` no longer
/// applies to files that it finds. Answers whether it was new.
#[derive(Message, Debug)]
#[rtype(result = "Result<bool, JournalError>")]
pub struct RememberEntry(pub String);

/// Write everything down, sync, and answer. Part of an orderly stop.
#[derive(Message, Debug)]
#[rtype(result = "Result<(), JournalError>")]
pub struct FlushJournal;

/// What the journal knows of all files, once it is on the disk: a rebuild must not be ahead of that.
#[derive(Message, Debug)]
#[rtype(result = "Result<JournalMemory, JournalError>")]
pub struct RecallJournal;

/// The answer to [`RecallJournal`].
#[derive(Debug)]
pub struct JournalMemory {
    pub files: Vec<FileRecord>,
    /// See [`Journal::history`](crate::journal::Journal::history).
    pub ranges: Vec<(FileId, Range)>,
}

// ---- tails (agent) --------------------------------------------------------------------------------------------------

/// The entries changed; only what the diff names is touched.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct ApplyDiff(pub CollectionDiff);

/// Something happened in watched folders; drain the shared set of hints.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct FoldersChanged;

/// Look at your file: it may have grown, shrunk or gone.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Wake;

/// The tail's path now holds another file (renamed away or deleted): read to the end, then stop.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Superseded {
    /// Where the file is now, where that is known; `None` when it has no name any more.
    pub path: Option<PathBuf>,
}

/// Stop reading; finish when everything that was read is settled.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Drain;

/// From a tail to its manager.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct TailReport {
    pub file: OriginId,
    pub state: TailState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailState {
    /// Read to the end of what is there.
    CaughtUp,
    /// The content under the tail was replaced (truncated, re-written). `lost_bytes`: what had been seen and was gone
    /// before it was read.
    Replaced { lost_bytes: u64 },
    /// Finished: drained, or superseded and read to its end, everything settled.
    Done,
    /// The same, and nothing will ever be read from it again: it is deleted, or its content was replaced.
    Gone,
    /// The file can't be read any more for a reason of its own; the manager tries again later.
    Failed,
}

/// The sink was replaced after a failure: everything unsettled is sent again, to this one.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct UseSink(pub Mailbox<LineBatch>);

/// What the tails are doing: for `files`, `/health`, the status key.
#[derive(Message, Debug)]
#[rtype(result = "Vec<FileStatus>")]
pub struct ListTails;

/// How far one file is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileStatus {
    pub path: String,
    pub topic: String,
    /// FILE, 16 hex digits.
    pub file: String,
    /// Byte up to which the file is read and journalled.
    pub read: u64,
    /// Byte up to which everything is delivered.
    pub settled: u64,
    /// Size of the file when last looked at; `None` when it is gone.
    pub size: Option<u64>,
}

/// A console asks an agent for its files.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FilesQuestion {
    /// Stands in the answer.
    pub id: String,
}

/// The files of an agent.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct FilesAnswer {
    /// Of the question.
    pub id: String,
    /// When it was made, by the agent's clock; milliseconds since 1970.
    pub time_ms: u64,
    /// Those that are furthest behind first.
    pub files: Vec<FileStatus>,
    /// So many more there are.
    pub left_out: usize,
}

impl FilesAnswer {
    /// What an agent says that it can be asked ([`StatusBoard::can`](crate::telemetry::StatusBoard::can)).
    pub const CAN: &str = "files";
    /// Files and bytes of an answer, at most: etcd takes no larger values.
    const MOST: (usize, usize) = (2_000, 1 << 20);

    pub fn of(id: String, time_ms: u64, mut files: Vec<FileStatus>) -> Self {
        let all = files.len();
        files.sort_by(|a, b| b.lag().cmp(&a.lag()).then_with(|| a.path.cmp(&b.path)));
        files.truncate(Self::MOST.0);
        Self { id, time_ms, left_out: all - files.len(), files }
    }

    /// As JSON, with as many files as fit.
    pub fn to_json(mut self) -> Vec<u8> {
        loop {
            let text = serde_json::to_vec(&self).unwrap_or_default();
            if text.len() <= Self::MOST.1 || self.files.is_empty() {
                return text;
            }
            // Those that are nearly done go first.
            let fit = self.files.len() * Self::MOST.1 / text.len();
            let kept = fit.min(self.files.len() - 1);
            self.left_out += self.files.len() - kept;
            self.files.truncate(kept);
        }
    }
}

impl FileStatus {
    /// Bytes that are there and not delivered.
    pub fn lag(&self) -> u64 {
        self.size.unwrap_or(self.read).max(self.read).saturating_sub(self.settled)
    }
}

// ---- configuration --------------------------------------------------------------------------------------------------

/// A value was refused; what ran keeps running.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct ConfigRefused(pub Refusal);

/// The tail manager was started (again) and knows nothing: all entries go to this one, and every later change.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct UseTails(pub Mailbox<ApplyDiff>);

/// The consumer was started (again) and knows nothing: all topics go to this one, and every later change.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct UseConsumer(pub Mailbox<UseTopics>);

/// New credentials and addresses of Elasticsearch.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct UseElastic(pub Arc<ElasticConfig>);

/// The sink was started (again) and knows nothing of Elasticsearch: this one is told, now and at every change.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct UseBatcher(pub Mailbox<UseElastic>);

/// These topics are to be consumed (names, or `^regex` as librdkafka takes it).
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct UseTopics(pub Vec<String>);

/// Put the text of an entry's delivery fields where the transfers look it up (etcd `/logweir/entry/<ENTRY>`). Answered
/// when it is there; no record with this ENTRY is sent before.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), EntryStoreError>")]
pub struct PublishEntry {
    pub entry: EntryId,
    pub delivery: Delivery,
}

/// The delivery fields of an ENTRY that a record names; `None` where nobody has published it (yet).
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Result<Option<Arc<Delivery>>, EntryStoreError>")]
pub struct LookUpEntry(pub EntryId);

/// Why the store of entry texts has no answer.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum EntryStoreError {
    /// Not now; try again.
    #[error("entry store: {0}")]
    Failed(String),
    /// There is none, and there won't be one as long as this process lives.
    #[error("entry store: no etcd is configured")]
    NotConfigured,
}

// ---- dead letters (transfer) ----------------------------------------------------------------------------------------

/// Keep this record for good; the answer comes when the broker has acknowledged it.
#[derive(Message, Debug)]
#[rtype(result = "Result<(), DeadLetterError>")]
pub struct KeepDeadLetter {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub reason: String,
    /// HTTP status of the verdict.
    pub status: u16,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub index: String,
}

/// The dead letter could not be written yet; try again.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("dead letter not written: {0}")]
pub struct DeadLetterError(pub String);

/// The dead letters' actor was replaced after a failure: this is the new one.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct UseDeadLetters(pub Mailbox<KeepDeadLetter>);

/// The store of entry texts was replaced after a failure: this is the new one.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct UseEntryStore(pub Mailbox<LookUpEntry>);

// ---- supervision ----------------------------------------------------------------------------------------------------

/// A child has stopped, in order or by a panic: sent from its `stopped()`.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct ChildStopped {
    /// Kind of the child, as in the metrics.
    pub kind: &'static str,
    /// Which one, where there are many (a tail's origin).
    pub id: u64,
    /// It stopped because it was asked to, or had finished.
    pub orderly: bool,
}

/// Stop in order: stop reading, flush, settle, write down.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Panic now, to prove that a panic is survived.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct InjectPanic;

/// To a supervisor: let the child of this kind panic. Answers whether there was one.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "bool")]
pub struct InjectPanicInto(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_the_files_that_are_furthest_behind_and_fits_into_a_key() {
        let file = |n: u64, path: &str| FileStatus {
            path: format!("{path}{n}"),
            topic: "t".into(),
            file: String::new(),
            read: n,
            settled: 0,
            size: Some(n),
        };
        let answer = FilesAnswer::of("i".into(), 1, (0..3_000).map(|n| file(n, "/a")).collect());
        assert_eq!((answer.files.len(), answer.left_out, answer.files[0].lag()), (2_000, 1_000, 2_999));
        let long = "/x".repeat(2_000);
        let text = FilesAnswer::of("i".into(), 1, (0..1_000).map(|n| file(n, &long)).collect()).to_json();
        assert!(text.len() <= 1 << 20);
        let answer: FilesAnswer = serde_json::from_slice(&text).unwrap();
        assert!(answer.files.len() > 100 && answer.files.len() + answer.left_out == 1_000, "{}", answer.files.len());
        assert_eq!(answer.files[0].lag(), 999);
    }
}
