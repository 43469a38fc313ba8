//! The same documents in the embedded index and in a real Elasticsearch.

use crate::{corpus::Plain, support::servers::Server};
use bytes::Bytes;
use logweir::{
    collection::Delivery,
    document::{FileDocuments, each_word, lower},
    elastic::{Answer, Cluster, ElasticConfig, TemplateSettings},
    flow::{Backoff, Credit, FileOrigin, PartitionRule},
    index::{Day, DayWriter, FieldLimit, Fields, IndexFolder, IndexSet, Lines, WriterMemory},
    messages::{Line, Part},
    search::{Elastic, Embedded, span, value::flat},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tantivy::{
    Index, IndexWriter, TantivyDocument,
    schema::OwnedValue,
    tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager},
};

/// The one of this test process.
pub fn elasticsearch() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let instance = format!("test-{}-search", std::process::id());
    SERVER.get_or_init(|| Server::start_with("elasticsearch", &instance, &[]))
}

pub fn cluster(server: &Server) -> Arc<Cluster> {
    let config = ElasticConfig {
        urls: vec![server.fact("url").to_owned()],
        username: Some(server.fact("user").to_owned()),
        password: Some(server.fact("password").to_owned()),
        api_key: None,
        ca_cert: None,
    };
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    Arc::new(Cluster::new(&config, Duration::from_secs(60), backoff).unwrap())
}

/// Puts the documents into one index a day, as the transfer does.
pub async fn in_elasticsearch(documents: &[Value], name: &str) -> Elastic {
    let (server, pattern) = (elasticsearch(), format!("{name}-*"));
    let cluster = cluster(server);
    let settings = TemplateSettings { replicas: 0, ..TemplateSettings::default() };
    cluster.install_template(&pattern, &settings).await.unwrap();
    // A bulk request has to stay below the 100 MB that Elasticsearch takes.
    let large = documents.iter().any(|document| document["message"].as_str().is_some_and(|text| text.len() > 100_000));
    for part in documents.chunks(if large { 10 } else { 5000 }) {
        let mut body = String::new();
        for document in part {
            let day = document["@timestamp"].as_str().unwrap_or_default().get(..10).unwrap_or_default();
            body.push_str(&format!("{{\"create\":{{\"_index\":\"{name}-{day}\"}}}}\n{document}\n"));
        }
        let answer = cluster.bulk(Bytes::from(body), part.len()).await;
        let Answer::Items(refused) = answer else { panic!("{answer:?}") };
        assert!(refused.is_empty(), "{refused:?}");
    }
    server.request("POST", &format!("/{pattern}/_refresh"), None);
    Elastic::new(cluster, &[pattern])
}

#[derive(Clone, Default)]
struct Words(Token);

struct Stream<'a> {
    text: &'a str,
    places: std::vec::IntoIter<Range<usize>>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        let mut places = Vec::new();
        each_word(text, |place| places.push(place));
        self.0.reset();
        Stream { text, places: places.into_iter(), token: &mut self.0 }
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        let Some(place) = self.places.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = lower(&self.text[place]);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

fn owned(value: &Value) -> OwnedValue {
    match value {
        Value::Bool(flag) => OwnedValue::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| OwnedValue::F64(number.as_f64().unwrap()), OwnedValue::I64)
        }
        Value::String(text) => OwnedValue::Str(text.clone()),
        Value::Array(values) => OwnedValue::Array(values.iter().map(owned).collect()),
        other => panic!("{other}"),
    }
}

fn tantivy_document(document: &Value) -> (Day, TantivyDocument) {
    let (fields, mut out) = (Fields::get(), TantivyDocument::default());
    let mut values = flat(document.clone());
    let mut take = |name: &str| values.remove(name).unwrap();
    let ms = span::absolute(take("@timestamp").as_str().unwrap()).unwrap();
    out.add_text(fields.message, take("message").as_str().unwrap());
    out.add_i64(fields.time, ms);
    out.add_u64(fields.offset, take("log.offset").as_u64().unwrap());
    out.add_u64(fields.file, u64::from_str_radix(take("logweir.file").as_str().unwrap(), 16).unwrap());
    let dynamic: BTreeMap<String, OwnedValue> =
        values.iter().map(|(name, value)| (name.clone(), owned(value))).collect();
    out.add_object(fields.fields, dynamic);
    out.add_bytes(fields.source, document.to_string().as_bytes());
    (Day::of_ms(ms as u64), out)
}

/// Puts the documents into one index a day, several segments each; by plain tantivy, for nothing of ours writes fields of
/// all types yet.
pub fn in_the_embedded_index(documents: &[Value], data_dir: &Path) -> Embedded {
    let folder = IndexFolder::open(data_dir).unwrap();
    let mut writers: BTreeMap<Day, IndexWriter> = BTreeMap::new();
    for (n, document) in documents.iter().enumerate() {
        let (day, document) = tantivy_document(document);
        let writer = writers.entry(day).or_insert_with(|| {
            std::fs::create_dir_all(folder.of(day)).unwrap();
            let mut index = Index::create_in_dir(folder.of(day), Fields::schema().0).unwrap();
            let tokenizers = TokenizerManager::default();
            tokenizers.register("words", Words::default());
            index.set_tokenizers(tokenizers);
            let writer: IndexWriter = index.writer_with_num_threads(1, 50_000_000).unwrap();
            writer.set_merge_policy(Box::new(tantivy::merge_policy::NoMergePolicy));
            writer
        });
        writer.add_document(document).unwrap();
        if n % 7001 == 7000 {
            writer.commit().unwrap();
        }
    }
    for (_, mut writer) in writers {
        writer.commit().unwrap();
    }
    let (set, damaged) = IndexSet::open(&folder).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    Embedded::new(set)
}

/// Puts the lines into one index a day as the product does: by its own writer, in several commits, with its merges.
pub fn as_the_product_writes_them(lines: &[Plain], data_dir: &Path) -> Embedded {
    let folder = IndexFolder::open(data_dir).unwrap();
    let (set, _) = IndexSet::open(&folder).unwrap();
    let mut writers: BTreeMap<Day, DayWriter> = BTreeMap::new();
    for (n, line) in lines.iter().enumerate() {
        let ms = span::absolute(line.document["@timestamp"].as_str().unwrap()).unwrap() as u64;
        let day = Day::of_ms(ms);
        let writer = writers
            .entry(day)
            .or_insert_with(|| DayWriter::open(&set, day, WriterMemory { threads: 1, bytes: 20 << 20 }).unwrap());
        let line = product_line(line, ms, writer.limit());
        writer.add(line).unwrap();
        if n % 7001 == 7000 {
            writers.values_mut().for_each(|writer| writer.commit("1").unwrap());
        }
    }
    for mut writer in writers.into_values() {
        writer.commit("1").unwrap();
        writer.finish().join().unwrap();
    }
    let (set, damaged) = IndexSet::open(&folder).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    Embedded::new(set)
}

fn product_line(line: &Plain, ms: u64, limit: &mut FieldLimit) -> Lines {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let logweir = &line.document["logweir"];
    let labels = line.document["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(name, value)| (name.clone(), text(value))).collect();
    let origin = FileOrigin {
        id: 1,
        topic: text(&logweir["topic"]).into(),
        partition: PartitionRule::File,
        host: text(&line.document["host"]["name"]).into(),
        file: text(&logweir["file"]).parse().unwrap(),
        entry: None,
        path: text(&line.document["log"]["file"]["path"]).into_bytes().into(),
    };
    let mut documents = FileDocuments::new(&origin, Some(&Delivery { labels, index: None }));
    let shared = documents.fields().iter().filter(|(name, _)| limit.admits(name)).cloned().collect();
    let part = if logweir["part"] == "2" { Part::Nth(2) } else { Part::Whole };
    let place = Line { start: 0, len: line.bytes.len() as u32, part };
    let offset = line.document["log"]["offset"].as_u64().unwrap();
    Lines::of((line.bytes.clone().into(), vec![place], offset, ms), Credit::none(), origin.file, &mut documents, shared)
}
