use super::*;
use crate::{
    console::{
        fleet::{GONE_MS, STOPPED_MS, State, status_key, tests::status},
        gate::Author,
    },
    etcd::{Event, Mirror as _},
    store::FileStore,
    telemetry::{STATUS_PREFIX, Status},
};

/// Some time; milliseconds since 1970.
const NOW: u64 = 1_795_246_112_111;

/// What etcd holds: liveness keys and records.
struct Etcd {
    store: FileStore,
    _dir: tempfile::TempDir,
}

impl Etcd {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: FileStore::new(dir.path().join("etcd.json")), _dir: dir }
    }

    async fn commit(&self, write: Write) {
        self.store.commit(Vec::new(), vec![write]).await.unwrap();
    }

    async fn tells(&self, status: &Status) {
        let key = status_key(&status.kind, &status.host, &status.instance);
        self.commit(Write::put(key, serde_json::to_vec(status).unwrap())).await;
    }

    async fn goes(&self, host: &str) {
        self.commit(Write::delete(status_key("agent", host, "1"))).await;
    }

    /// A console that knows all there is by now.
    async fn console(&self, now_ms: u64) -> Fleet {
        let fleet = Fleet::default();
        self.lists(&fleet, now_ms).await;
        fleet
    }

    async fn lists(&self, fleet: &Fleet, now_ms: u64) {
        let mut kvs = Vec::new();
        for prefix in [SEEN_PREFIX, STATUS_PREFIX] {
            let items = self.store.list(prefix, None, usize::MAX).await.unwrap();
            kvs.extend(items.into_iter().map(|Item { key, value, revision }| Kv { key, value, revision }));
        }
        fleet.apply_at(&Event::Snapshot { kvs, revision: 1 }, now_ms);
    }

    async fn record(&self, host: &str) -> Option<Seen> {
        let item = self.store.get(&format!("{SEEN_PREFIX}agent/{host}/1")).await.unwrap()?;
        Some(serde_json::from_slice(&item.value).unwrap())
    }

    /// Writes down all that is due, and lets the console see it. Answers how many records each commit had.
    async fn written_by(&self, fleet: &Fleet, now_ms: u64) -> Vec<usize> {
        let mut written = Vec::new();
        loop {
            match fleet.write_down(&self.store, now_ms).await.unwrap() {
                0 => return written,
                some => written.push(some),
            }
            self.lists(fleet, now_ms).await;
        }
    }

    async fn forget(&self, fleet: &Fleet, host: &str) -> Dismissed {
        let audit = Author::of_command_line().did("agent.forget", host, "").unwrap();
        fleet.forget(&self.store, &status_key("agent", host, "1"), audit).await.unwrap()
    }
}

fn agent(host: &str) -> Status {
    Status { started_ms: 5, ..status("agent", host) }
}

fn state(fleet: &Fleet, host: &str) -> Option<State> {
    fleet.known().get("agent", host, "1").map(Process::state)
}

#[actix_rt::test]
async fn one_that_died_while_no_console_ran_is_gone_for_whoever_starts_later() {
    let etcd = Etcd::new();
    etcd.tells(&Status { lag: 7, version: "0.1.0".into(), ..agent("a") }).await;
    assert_eq!(etcd.written_by(&etcd.console(NOW).await, NOW).await, [1]);
    etcd.goes("a").await;
    let later = NOW + 5 * STOPPED_MS;
    let second = etcd.console(later).await;
    assert_eq!(state(&second, "a"), Some(State::Gone));
    {
        let known = second.known();
        let process = known.get("agent", "a", "1").unwrap();
        assert_eq!((process.status.lag, &*process.status.version), (7, "0.1.0"), "what it told last");
        assert_eq!((process.told_ms, process.went_ms, process.unwatched), (NOW, Some(later), true));
        assert_eq!(process.first_ms, NOW);
    }
    let banner = second.banner(later, |_| true);
    assert_eq!((banner[0].kind, &*banner[0].who, banner[0].since_ms), ("agent_gone", "a", Some(NOW)));
    assert_eq!(etcd.written_by(&second, later).await, [1]);
    // When it went is known from now on.
    let third = etcd.console(later + GONE_MS - 1).await;
    assert_eq!(state(&third, "a"), Some(State::Gone));
    assert_eq!(third.known().get("agent", "a", "1").unwrap().went_ms, Some(later));
    assert!(etcd.written_by(&third, later + GONE_MS - 1).await.is_empty());
    assert_eq!(etcd.written_by(&third, later + GONE_MS).await, [1], "it is forgotten");
    assert_eq!((state(&third, "a"), etcd.record("a").await), (None, None));
}

#[actix_rt::test]
async fn one_that_left_in_order_is_stopped_for_a_day_also_where_nobody_looked_on() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    etcd.written_by(&etcd.console(NOW).await, NOW).await;
    // As a process leaves.
    let left = etcd.record("a").await.unwrap().left(&Status { leaving: true, ..agent("a") }, NOW + 1);
    etcd.commit(Write::put(format!("{SEEN_PREFIX}agent/a/1"), serde_json::to_vec(&left).unwrap())).await;
    etcd.goes("a").await;
    let second = etcd.console(NOW + 2).await;
    assert_eq!(state(&second, "a"), Some(State::Stopped));
    assert!(second.banner(NOW + 2, |_| true).is_empty() && etcd.written_by(&second, NOW + 2).await.is_empty());
    assert_eq!(etcd.written_by(&second, NOW + 1 + STOPPED_MS).await, [1]);
    assert_eq!((state(&second, "a"), etcd.record("a").await), (None, None));
}

#[actix_rt::test]
async fn a_list_that_was_made_while_it_left_takes_it_for_gone_only_until_its_word_comes() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    etcd.written_by(&etcd.console(NOW).await, NOW).await;
    etcd.goes("a").await;
    let fleet = etcd.console(NOW).await;
    assert_eq!(state(&fleet, "a"), Some(State::Gone));
    let left = etcd.record("a").await.unwrap().left(&Status { leaving: true, ..agent("a") }, NOW);
    let kv = Kv { key: format!("{SEEN_PREFIX}agent/a/1"), value: serde_json::to_vec(&left).unwrap(), revision: 99 };
    fleet.apply_at(&Event::Put(kv), NOW);
    assert_eq!(state(&fleet, "a"), Some(State::Stopped));
}

#[actix_rt::test]
async fn two_thousand_that_appear_at_once_are_written_once_whoever_writes_them() {
    let etcd = Etcd::new();
    let statuses = (0..2_000).map(|n| agent(&format!("web-{n:04}")));
    let puts = statuses.map(|s| Write::put(status_key("agent", &s.host, "1"), serde_json::to_vec(&s).unwrap()));
    for piece in puts.collect::<Vec<_>>().chunks(100) {
        etcd.store.commit(Vec::new(), piece.to_vec()).await.unwrap();
    }
    let (one, two) = (etcd.console(NOW).await, etcd.console(NOW).await);
    let mut commits = Vec::new();
    // The second is told of nothing that the first one writes, until the end.
    loop {
        let by_one = one.write_down(&etcd.store, NOW).await.unwrap();
        etcd.lists(&one, NOW).await;
        let by_two = two.write_down(&etcd.store, NOW).await.unwrap();
        commits.extend([by_one, by_two].into_iter().filter(|written| *written > 0));
        if by_one == 0 {
            break;
        }
    }
    assert_eq!(commits.iter().sum::<usize>(), 2_000);
    assert_eq!(commits.len(), 2_000_usize.div_ceil(MOST), "{commits:?}");
    etcd.lists(&two, NOW).await;
    // What they tell then costs nothing for a while, and then once for both.
    for minute in 1..15 {
        let now = NOW + minute * 60_000;
        for fleet in [&one, &two] {
            etcd.lists(fleet, now).await;
            assert!(etcd.written_by(fleet, now).await.is_empty(), "minute {minute}");
        }
    }
    etcd.lists(&one, NOW + AGAIN_MS).await;
    assert_eq!(etcd.written_by(&one, NOW + AGAIN_MS).await.iter().sum::<usize>(), 2_000);
    etcd.lists(&two, NOW + AGAIN_MS).await;
    assert!(etcd.written_by(&two, NOW + AGAIN_MS).await.is_empty());
}

#[actix_rt::test]
async fn what_another_has_written_meanwhile_holds_up_nothing_else() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    let one = etcd.console(NOW).await;
    etcd.tells(&agent("b")).await;
    let two = etcd.console(NOW + 1).await;
    assert_eq!(one.write_down(&etcd.store, NOW).await, Ok(1));
    assert_eq!(two.write_down(&etcd.store, NOW + 1).await, Ok(1), "b");
    assert_eq!(etcd.record("a").await.unwrap().told_ms, NOW, "as the first one wrote it");
    assert_eq!(etcd.record("b").await.unwrap().told_ms, NOW + 1);
}

#[actix_rt::test]
async fn who_comes_back_before_it_is_written_down_has_not_gone() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    let fleet = etcd.console(NOW).await;
    etcd.written_by(&fleet, NOW).await;
    etcd.goes("a").await;
    etcd.lists(&fleet, NOW).await;
    etcd.tells(&agent("a")).await;
    assert_eq!(fleet.write_down(&etcd.store, NOW).await, Ok(0), "the watch is late");
    assert_eq!(etcd.record("a").await.unwrap().went_ms, None);
}

#[actix_rt::test]
async fn one_that_is_dismissed_is_away_everywhere_and_one_that_lives_cannot_be() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    let (one, two) = (etcd.console(NOW).await, etcd.console(NOW).await);
    etcd.goes("a").await;
    assert_eq!(etcd.forget(&one, "a").await, Dismissed::TooSoon, "others would write it down again");
    etcd.tells(&agent("a")).await;
    etcd.written_by(&one, NOW).await;
    assert_eq!(etcd.forget(&one, "a").await, Dismissed::Conflict, "it lives");
    etcd.lists(&two, NOW).await;
    etcd.goes("a").await;
    // Both have seen it go; before either writes that down, somebody dismisses it.
    for fleet in [&one, &two] {
        etcd.lists(fleet, NOW).await;
        assert_eq!(state(fleet, "a"), Some(State::Gone));
    }
    assert_eq!(etcd.forget(&one, "a").await, Dismissed::Done);
    assert_eq!((state(&one, "a"), etcd.record("a").await), (None, None));
    assert_eq!(two.write_down(&etcd.store, NOW).await, Ok(0), "a record that has gone isn't made again");
    two.apply(&Event::Delete { key: format!("{SEEN_PREFIX}agent/a/1"), revision: 9 });
    assert_eq!(state(&two, "a"), None);
    assert_eq!(etcd.store.keys("/logweir/audit/").await.unwrap().len(), 1, "what was refused is not told as done");
    // Also where the watch was lost meanwhile, and it's there again when it starts again.
    etcd.tells(&agent("a")).await;
    etcd.lists(&two, NOW).await;
    etcd.written_by(&two, NOW).await;
    etcd.goes("a").await;
    etcd.lists(&two, NOW).await;
    assert_eq!(state(&two, "a"), Some(State::Gone));
    etcd.commit(Write::delete(format!("{SEEN_PREFIX}agent/a/1"))).await;
    etcd.lists(&two, NOW).await;
    assert_eq!(state(&two, "a"), None);
}

#[actix_rt::test]
async fn one_that_starts_again_is_the_same_and_its_last_end_counts() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    let fleet = etcd.console(NOW).await;
    etcd.written_by(&fleet, NOW).await;
    let left = etcd.record("a").await.unwrap().left(&Status { leaving: true, ..agent("a") }, NOW);
    etcd.commit(Write::put(format!("{SEEN_PREFIX}agent/a/1"), serde_json::to_vec(&left).unwrap())).await;
    etcd.goes("a").await;
    etcd.lists(&fleet, NOW + 1).await;
    assert_eq!(state(&fleet, "a"), Some(State::Stopped));
    // It starts, and is killed before anybody has written down that it lives.
    etcd.tells(&Status { started_ms: 6, ..agent("a") }).await;
    etcd.lists(&fleet, NOW + 2).await;
    etcd.goes("a").await;
    etcd.lists(&fleet, NOW + 3).await;
    assert_eq!(state(&fleet, "a"), Some(State::Gone));
    assert_eq!(etcd.written_by(&fleet, NOW + 3).await, [1]);
    let after = etcd.console(NOW + 4).await;
    assert_eq!(state(&after, "a"), Some(State::Gone));
    assert_eq!(after.known().get("agent", "a", "1").unwrap().first_ms, NOW);
    // It starts, and stays.
    etcd.tells(&Status { started_ms: 7, ..agent("a") }).await;
    etcd.lists(&after, NOW + 5).await;
    assert_eq!(etcd.written_by(&after, NOW + 5).await, [1]);
    let record = etcd.record("a").await.unwrap();
    assert_eq!((record.first_ms, record.told_ms, record.went_ms), (NOW, NOW + 5, None));
}

#[actix_rt::test]
async fn nothing_is_written_while_nobody_knows_who_is_there_or_nothing_outlives_the_console() {
    let etcd = Etcd::new();
    etcd.tells(&agent("a")).await;
    let unlisted = Fleet::default();
    let kv = Kv { key: status_key("agent", "a", "1"), value: b"{}".to_vec(), revision: 1 };
    unlisted.apply(&Event::Put(kv));
    assert_eq!(unlisted.write_down(&etcd.store, NOW).await, Ok(0));
    let away = etcd.console(NOW).await;
    let lost = crate::etcd::EtcdError::Settings("away".into());
    away.apply(&Event::Lost(lost));
    assert_eq!(away.write_down(&etcd.store, NOW).await, Ok(0));
    // As in standalone: it comes back at once.
    let alone = Fleet::default();
    alone.tell(agent("a"));
    alone.keep().await;
    assert!(etcd.store.keys(SEEN_PREFIX).await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_record_that_cannot_be_read_or_makes_no_sense_says_that_there_was_one() {
    let etcd = Etcd::new();
    let most = u64::MAX;
    let nonsense = format!(r#"{{"first_ms":{most},"told_ms":{most},"went_ms":{most},"status":{{"host":"other"}}}}"#);
    for (host, value) in [("<b>", "{"), ("nonsense", &nonsense), ("empty", "{}")] {
        etcd.commit(Write::put(format!("{SEEN_PREFIX}agent/{host}/1"), value)).await;
    }
    let fleet = etcd.console(NOW).await;
    for host in ["<b>", "nonsense", "empty"] {
        assert_eq!(state(&fleet, host), Some(State::Gone));
        assert_eq!(fleet.known().get("agent", host, "1").unwrap().status.host, host);
    }
    assert_eq!(etcd.written_by(&fleet, NOW).await, [2]);
    let record = etcd.record("<b>").await.unwrap();
    assert_eq!((&*record.status.host, record.told_ms, record.unwatched), ("<b>", NOW, true));
    etcd.tells(&agent("nonsense")).await;
    etcd.lists(&fleet, NOW).await;
    assert_eq!(etcd.written_by(&fleet, NOW).await, [1]);
    assert_eq!(etcd.record("nonsense").await.unwrap().told_ms, NOW);
}
