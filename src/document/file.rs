//! The documents of one file, for a sink that gets its lines straight from the tail. The problem: they have to be the
//! ones that the transfer would have made of the same lines, and a sink also wants their fields one by one.

use super::{
    body::{Body, Position, label_text},
    time::{LAST_MS, TimeText},
};
use crate::{collection::Delivery, flow::FileOrigin, messages::Part};

/// Makes the documents of one file.
#[derive(Debug)]
pub struct FileDocuments {
    body: Body,
    fields: Vec<(Box<str>, Box<str>)>,
    time: TimeText,
}

impl FileDocuments {
    /// `delivery`: that of the origin's ENTRY, where it has one.
    pub fn new(origin: &FileOrigin, delivery: Option<&Delivery>) -> Self {
        let labels = delivery.map(|delivery| &delivery.labels);
        let label_text = labels.map(label_text).unwrap_or_default();
        let path = String::from_utf8_lossy(&origin.path);
        let mut fields: Vec<(Box<str>, Box<str>)> = vec![
            ("host.name".into(), (&*origin.host).into()),
            ("log.file.path".into(), (&*path).into()),
            ("logweir.topic".into(), (&*origin.topic).into()),
        ];
        let labels = labels.into_iter().flatten();
        fields.extend(labels.map(|(name, value)| (format!("labels.{name}").into(), value.as_str().into())));
        Self {
            body: Body::ours(origin.host.as_bytes(), &origin.path, origin.file, &origin.topic, &label_text),
            fields,
            time: TimeText::default(),
        }
    }

    /// The fields that all lines of the file share, all of them keywords, without `logweir.file`.
    pub fn fields(&self) -> &[(Box<str>, Box<str>)] {
        &self.fields
    }

    /// Appends the document of one line, without a line end.
    pub fn write(&mut self, out: &mut Vec<u8>, read_ms: u64, offset: u64, part: Part, value: &[u8]) {
        let time = (&mut self.time, read_ms.min(LAST_MS));
        self.body.write(out, time, Position::File { offset }, part, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_INDEX, Documents};
    use super::*;
    use crate::{
        flow::{EntryId, FileId, PartitionOrigin, PartitionRule},
        messages::Record,
    };

    #[test]
    fn a_file_gives_the_documents_that_the_transfer_gives() {
        let delivery = Delivery { labels: [("team".into(), "a\"b".into())].into(), index: None };
        let origin = FileOrigin {
            id: 1,
            topic: "nginx_log".into(),
            partition: PartitionRule::File,
            host: "web-01".into(),
            file: FileId(0xa41f_9c0e_77d2_b3c8),
            entry: Some(EntryId(0xbeef)),
            path: (*b"/var/log/a b\xff.log").into(),
        };
        let mut ours = FileDocuments::new(&origin, Some(&delivery));
        let mut transfer = Documents::new(DEFAULT_INDEX.parse().unwrap());
        transfer.learn(EntryId(0xbeef), &delivery).unwrap();
        let partition = PartitionOrigin { id: 1, topic: "nginx_log".into(), partition: 0 };
        let record = Record { offset: 1, timestamp_ms: 0, key: None };
        for (part, value) in [(Part::Whole, &b"GET \"/\""[..]), (Part::Nth(3), b"\xff"), (Part::Last, b"")] {
            let key = b"web-01 a41f9c0e77d2b3c8 77 1795246112111 0000beef /var/log/a b\xff.log";
            let located = transfer.locate(&partition.topic, Some(key), &record).unwrap();
            let (mut theirs, mut out) = (Vec::new(), Vec::new());
            transfer.write(&mut theirs, &located, &partition, &record, part, value);
            ours.write(&mut out, 1_795_246_112_111, 77, part, value);
            let document = theirs.split(|&b| b == b'\n').nth(1).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(document));
        }
        let fields: Vec<&str> = ours.fields().iter().map(|(name, _)| &**name).collect();
        assert_eq!(fields, ["host.name", "log.file.path", "logweir.topic", "labels.team"]);
    }
}
