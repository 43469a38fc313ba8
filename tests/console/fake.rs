//! A console over documents in memory, one after the other held against the live tail's matcher.

use futures_util::{StreamExt as _, future::ready, stream};
use logweir::{
    collection::{KeyTemplate, LocalPaths},
    console::{
        Console, Entrance, Fleet, LiveEvent, LiveSource, OwnFiles, Parts,
        entries::{Book, Source},
    },
    etcd::{Event, Kv},
    search::{
        budget::{Room, centred},
        matcher::Matcher,
        model::{
            Around, Backend, Field, FieldKind, Histogram, Hit, LineAt, Order, Page, PageRequest, Scope, SearchError,
            TopValues,
        },
        query::Query,
    },
    settings::Etcd,
    store::{Committed, FileStore, Store as _, Write},
    telemetry::{Health, JsonPage, Registry},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};
use tokio::sync::{broadcast, oneshot};

type Answer<'a, T> = futures_util::future::BoxFuture<'a, Result<T, SearchError>>;
type Stream = futures_util::stream::BoxStream<'static, LiveEvent>;

/// The documents of a test.
pub struct Documents {
    hits: Mutex<Vec<Hit>>,
    live: broadcast::Sender<Hit>,
    /// Set: every question is answered with this.
    pub failure: Mutex<Option<SearchError>>,
    /// Bytes of the largest page that was answered.
    pub largest: AtomicUsize,
}

impl Documents {
    /// One line of a file of its own name, and whoever watches sees it.
    pub fn write(&self, path: &str, time_ms: i64, message: &str, more: Value) -> Hit {
        let mut hits = self.hits.lock().unwrap();
        let file = format!("{:016x}", path.bytes().fold(7_u64, |sum, b| sum.wrapping_mul(131) + u64::from(b)));
        let last = hits.iter().rev().find(|hit| hit.file.as_ref() == Some(&file));
        let length = |hit: &Hit| hit.fields["message"].as_str().unwrap().len() as u64 + 1;
        let offset = last.map_or(0, |hit| hit.offset.unwrap() + length(hit));
        let mut fields = Map::new();
        for (name, value) in [
            ("@timestamp", json!(logweir::telemetry::rfc3339_ms(time_ms as u64))),
            ("message", json!(message)),
            ("host.name", json!("web-01")),
            ("log.file.path", json!(path)),
            ("log.offset", json!(offset)),
            ("logweir.file", json!(file)),
            ("logweir.topic", json!(path.rsplit('/').nth(1).unwrap_or("log"))),
        ] {
            fields.insert(name.to_owned(), value);
        }
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        let hit = Hit { time_ms, cursor: format!("{}", hits.len()), file: Some(file), offset: Some(offset), fields };
        hits.push(hit.clone());
        // Nobody may be watching.
        let _ = self.live.send(hit.clone());
        hit
    }

    fn found(&self, scope: &Scope) -> Result<Vec<Hit>, SearchError> {
        if let Some(failure) = &*self.failure.lock().unwrap() {
            return Err(failure.clone());
        }
        let in_time = |hit: &Hit| {
            scope.from_ms.is_none_or(|from| hit.time_ms >= from) && scope.to_ms.is_none_or(|to| hit.time_ms < to)
        };
        let (hits, matcher) = (self.hits.lock().unwrap(), Matcher::new(&scope.query));
        Ok(hits.iter().filter(|hit| in_time(hit) && matcher.matches(&hit.fields)).cloned().collect())
    }
}

impl Backend for Documents {
    fn page(&self, request: PageRequest) -> Answer<'_, Page> {
        Box::pin(ready(self.found(&request.scope).map(|mut hits| {
            let total = request.count.then_some(hits.len() as u64);
            hits.sort_by_key(|hit| (hit.time_ms, hit.file.clone(), hit.offset));
            if request.order == Order::NewestFirst {
                hits.reverse();
            }
            let after = |cursor: &String| hits.iter().position(|hit| hit.cursor == *cursor).map_or(0, |at| at + 1);
            let begin = request.after.as_ref().map_or(0, after);
            let (all, mut room) = (hits.len(), Room::default());
            let hits = hits.into_iter().skip(begin).take(request.size).take_while(|hit| room.take(hit));
            let hits: Vec<Hit> = hits.collect();
            self.largest.fetch_max(hits.iter().map(Hit::bytes).sum(), Relaxed);
            let more = begin + hits.len() < all;
            Page::new(hits, more, total)
        })))
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> Answer<'_, Histogram> {
        Box::pin(ready(self.found(&scope).map(|hits| {
            let mut bars = BTreeMap::new();
            hits.iter()
                .for_each(|hit| *bars.entry(hit.time_ms.div_euclid(interval_ms) * interval_ms).or_default() += 1);
            Histogram { interval_ms, bars: bars.into_iter().collect(), total: hits.len() as u64 }
        })))
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> Answer<'_, TopValues> {
        Box::pin(ready(self.found(&scope).map(|hits| {
            let mut counts = BTreeMap::<String, u64>::new();
            for value in hits.iter().filter_map(|hit| hit.fields.get(&field)) {
                *counts.entry(value.as_str().map_or_else(|| value.to_string(), str::to_owned)).or_default() += 1;
            }
            let with_field = counts.values().sum();
            let mut values: Vec<_> = counts.into_iter().collect();
            values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            values.truncate(size);
            TopValues { values, with_field, total: hits.len() as u64 }
        })))
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> Answer<'_, Vec<Field>> {
        Box::pin(ready(self.found(&Scope { query: Query::All, from_ms, to_ms }).map(|hits| {
            let kind = |name: &str, value: &Value| match value {
                _ if name == "message" => FieldKind::Text,
                _ if name == "@timestamp" => FieldKind::Date,
                Value::Number(_) => FieldKind::Integer,
                _ => FieldKind::Keyword,
            };
            let pairs = hits.iter().flat_map(|hit| hit.fields.iter().map(|(n, v)| (n.clone(), kind(n, v))));
            let by_name: BTreeMap<_, _> = pairs.collect();
            by_name.into_iter().map(|(name, kind)| Field { name, kind }).collect()
        })))
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> Answer<'_, Around> {
        let all = self.found(&Scope { query: Query::All, from_ms: None, to_ms: None });
        Box::pin(ready(all.map(|mut hits| {
            hits.retain(|hit| hit.file.as_ref() == Some(&line.file));
            hits.sort_by_key(|hit| hit.offset);
            let at = hits.partition_point(|hit| hit.offset < Some(line.offset));
            let found = hits.get(at).filter(|hit| hit.offset == Some(line.offset)).cloned();
            let later = hits.split_off(at + usize::from(found.is_some()));
            hits.truncate(at);
            let all = |hits: Vec<Hit>| hits.into_iter().map(Ok::<_, SearchError>);
            centred(found, (before, all(hits).rev()), (after, all(later))).unwrap()
        })))
    }
}

impl LiveSource for Documents {
    fn subscribe(&self, query: Query) -> Stream {
        let events = stream::unfold(self.live.subscribe(), |mut live| async move {
            match live.recv().await {
                Ok(hit) => Some((LiveEvent::Line(Box::new(hit)), live)),
                Err(broadcast::error::RecvError::Lagged(count)) => Some((LiveEvent::Skipped(count), live)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        let matcher = Matcher::new(&query);
        let wanted = move |event: &LiveEvent| match event {
            LiveEvent::Line(hit) => matcher.matches(&hit.fields),
            LiveEvent::Skipped(_) | LiveEvent::Trouble(_) => true,
        };
        events.filter(move |event| ready(wanted(event))).boxed()
    }
}

/// A running console; ends when dropped.
pub struct Fake {
    pub documents: Arc<Documents>,
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    pub kept: Kept,
    /// Who collects and carries.
    pub fleet: Arc<Fleet>,
    entrance: Entrance,
    stop: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Fake {
    pub fn start() -> Self {
        Self::with(Entrance::open(), None)
    }

    /// `folder`: of a console before this one.
    pub fn with(entrance: Entrance, folder: Option<tempfile::TempDir>) -> Self {
        Self::serving(entrance, folder, Kept::of_a_file)
    }

    /// With the usual keys of etcd instead of a file; nobody watches them but the test.
    pub fn with_keys() -> Self {
        Self::with_keys_and(Entrance::open(), None)
    }

    pub fn with_keys_and(entrance: Entrance, folder: Option<tempfile::TempDir>) -> Self {
        Self::serving(entrance, folder, Kept::of_keys)
    }

    fn serving(entrance: Entrance, folder: Option<tempfile::TempDir>, keep: impl FnOnce(&Path) -> Kept) -> Self {
        let documents = Arc::new(Documents {
            hits: Mutex::default(),
            live: broadcast::channel(4096).0,
            failure: Mutex::default(),
            largest: AtomicUsize::default(),
        });
        let folder = folder.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let (kept, fleet) = (keep(folder.path()), Arc::<Fleet>::default());
        let (address, stop) = serve(&documents, &fleet, &folder, &kept, "127.0.0.1:0", entrance.clone());
        Self { documents, address, folder, kept, fleet, entrance, stop: Some(stop) }
    }

    pub fn now() -> i64 {
        logweir::telemetry::now_ms() as i64
    }

    pub fn write(&self, path: &str, message: &str) -> Hit {
        self.documents.write(path, Self::now(), message, Value::Null)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The reason why a second console doesn't start on an address.
    pub fn try_again_on(&self, listen: &str) -> String {
        self.try_again_with(listen, Entrance::open()).unwrap_err()
    }

    /// Starts a second console, and ends it.
    pub fn try_again_with(&self, listen: &str, entrance: Entrance) -> Result<(), String> {
        let parts = Parts {
            backend: self.documents.clone(),
            live: self.documents.clone(),
            entries: self.kept.book.clone(),
            store: self.kept.store.clone(),
            fleet: self.fleet.clone(),
            agent_files: Arc::new(OwnFiles(Arc::new(|| Box::pin(async { Ok(json!([])) })))),
            entrance,
            connection: Some("elasticsearch_config".into()),
            paths: None,
            registry: Registry::default(),
            health: Health::default(),
            pages: Vec::new(),
        };
        actix_rt::System::new().block_on(async {
            let console = Console::start(listen, parts).await.map_err(|error| error.to_string())?;
            console.stop().await;
            Ok(())
        })
    }

    /// The server goes, the documents stay.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// The server comes back at the same address.
    pub fn again(&mut self) {
        self.stop();
        let address = self.address.to_string();
        let again = serve(&self.documents, &self.fleet, &self.folder, &self.kept, &address, self.entrance.clone());
        self.stop = Some(again.1);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What outlives the server.
#[derive(Clone)]
pub struct Kept {
    pub store: Arc<FileStore>,
    pub book: Arc<Book>,
    pub health: Health,
}

impl Kept {
    /// As `logweir standalone` has it: one key, which is a file.
    fn of_a_file(folder: &Path) -> Self {
        let (key, file) = ("collect.json", folder.join("collect.json"));
        let store = FileStore::new(folder.join("console.json")).mount(key, &file);
        Self::new(store, Source::Asked { key: key.into(), file }, Some("/".into()))
    }

    fn of_keys(folder: &Path) -> Self {
        let templates = Etcd::default().keys;
        let templates = templates.iter().map(|text| KeyTemplate::parse(text).unwrap()).collect();
        let kept = Self::new(FileStore::new(folder.join("console.json")), Source::Watched(templates), None);
        kept.book.apply(&Event::Snapshot { kvs: Vec::new(), revision: 0 });
        kept
    }

    fn new(store: FileStore, source: Source, base_dir: Option<PathBuf>) -> Self {
        let store = Arc::new(store);
        let book = Arc::new(Book::new(store.clone(), source, base_dir));
        Self { store, book, health: Health::default() }
    }

    /// Somebody writes with another client; the watch tells of it.
    pub fn outside(&self, key: &str, value: Option<&str>) {
        let write = value.map_or_else(|| Write::delete(key), |value| Write::put(key, value));
        let done = actix_rt::System::new().block_on(self.store.commit(vec![], vec![write])).unwrap();
        let Committed::Done(revision) = done else { panic!("nothing was checked") };
        self.book.apply(&match value {
            Some(value) => Event::Put(Kv { key: key.into(), value: value.into(), revision }),
            None => Event::Delete { key: key.into(), revision },
        });
    }
}

type Stop = (oneshot::Sender<()>, thread::JoinHandle<()>);

fn serve(
    documents: &Arc<Documents>,
    fleet: &Arc<Fleet>,
    folder: &tempfile::TempDir,
    kept: &Kept,
    listen: &str,
    entrance: Entrance,
) -> (SocketAddr, Stop) {
    logweir::telemetry::init_for_tests();
    let (told, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let files: JsonPage = Arc::new(|| {
        let file = json!({ "path": "/var/log/shop/app.log", "topic": "shop", "file": "0", "read": 9000, "settled": 6000, "size": 9500 });
        let other = json!({ "path": "/var/log/bank/app.log", "topic": "bank", "file": "1", "read": 70, "settled": 70, "size": 70 });
        Box::pin(async move { Ok(json!([file, other])) })
    });
    let parts = Parts {
        backend: documents.clone(),
        live: documents.clone(),
        entries: kept.book.clone(),
        store: kept.store.clone(),
        connection: Some("elasticsearch_config".into()),
        fleet: fleet.clone(),
        agent_files: Arc::new(OwnFiles(files.clone())),
        entrance,
        paths: Some(LocalPaths { base_dir: folder.path().to_owned(), own: folder.path().join("data") }),
        registry: Registry::default(),
        health: kept.health.clone(),
        pages: vec![("/files", files)],
    };
    let listen = listen.to_owned();
    let thread = thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let console = Console::start(&listen, parts).await.unwrap();
            told.send(console.address()).unwrap();
            // Ends when the sender is dropped.
            let _ = stopped.await;
            console.stop().await;
        });
    });
    (address.recv().unwrap(), (stop, thread))
}
