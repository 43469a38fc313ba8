use super::*;
use crate::etcd::EtcdError;

pub fn kv(status: &Status) -> Kv {
    let key = format!("{STATUS_PREFIX}{}/{}/{}", status.kind, status.host, status.instance);
    Kv { key, value: serde_json::to_vec(status).unwrap(), revision: 1 }
}

pub fn status(kind: &str, host: &str) -> Status {
    Status { kind: kind.into(), host: host.into(), instance: "1".into(), ..Status::default() }
}

pub fn put(fleet: &Fleet, status: &Status) {
    fleet.apply(&Event::Put(kv(status)));
}

pub fn deleted(fleet: &Fleet, kind: &str, host: &str) {
    fleet.apply(&Event::Delete { key: format!("{STATUS_PREFIX}{kind}/{host}/1"), revision: 2 });
}

fn state(fleet: &Fleet, host: &str) -> Option<State> {
    fleet.known().get("agent", host, "1").map(Process::state)
}

#[test]
fn one_that_went_is_shown_for_a_week_one_that_stopped_for_a_day_and_each_comes_back_with_its_key() {
    let fleet = Fleet::default();
    put(&fleet, &status("agent", "a"));
    put(&fleet, &Status { leaving: true, ..status("agent", "b") });
    put(&fleet, &Status { leaving: true, ..status("agent", "c") });
    let delete = |host: &str| Event::Delete { key: format!("{STATUS_PREFIX}agent/{host}/1"), revision: 2 };
    for host in ["a", "b", "c"] {
        fleet.apply_at(&delete(host), 1_000);
    }
    assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (Some(State::Gone), Some(State::Stopped)));
    put(&fleet, &status("agent", "b"));
    assert_eq!(state(&fleet, "b"), Some(State::Alive));
    fleet.apply_at(&delete("nobody"), 1_000 + STOPPED_MS);
    assert_eq!((state(&fleet, "a"), state(&fleet, "c")), (Some(State::Gone), None));
    fleet.apply_at(&delete("nobody"), 1_000 + GONE_MS);
    assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (None, Some(State::Alive)));
}

#[test]
fn a_list_says_who_is_gone_and_that_etcd_is_back() {
    let fleet = Fleet::default();
    put(&fleet, &status("agent", "a"));
    put(&fleet, &status("agent", "b"));
    let lost = EtcdError::Failed { endpoints: "e".into(), call: "watch", reason: "refused".into() };
    fleet.apply_at(&Event::Lost(lost.clone()), 5);
    fleet.apply_at(&Event::Lost(lost), 9);
    assert_eq!(fleet.known().away.as_ref().map(|away| away.since_ms), Some(5), "since the first");
    assert_eq!(state(&fleet, "a"), Some(State::Alive), "what is known stays");
    let other = Kv { key: "/logweir/collect/all".into(), value: b"[]".to_vec(), revision: 1 };
    fleet.apply(&Event::Snapshot { kvs: vec![kv(&status("agent", "a")), other], revision: 3 });
    assert!(fleet.known().away.is_none());
    assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (Some(State::Alive), Some(State::Gone)));
    assert_eq!(fleet.known().all().count(), 2);
}

#[test]
fn a_key_that_cannot_be_read_is_shown_by_its_name() {
    let fleet = Fleet::default();
    let key = format!("{STATUS_PREFIX}agent/<b>/1");
    fleet.apply(&Event::Put(Kv { key, value: b"\xff{".to_vec(), revision: 1 }));
    let known = fleet.known();
    let process = known.get("agent", "<b>", "1").unwrap();
    assert!(process.unreadable.is_some() && process.is_alive());
    assert_eq!(process.status.host, "<b>");
}

#[test]
fn what_became_more_is_noticed_and_a_restart_is_no_growth() {
    let fleet = Fleet::default();
    let lost = |bytes, started| Status { bytes_lost: bytes, started_ms: started, ..status("agent", "a") };
    let grew = |fleet: &Fleet| fleet.known().get("agent", "a", "1").unwrap().lost_grew_ms;
    fleet.apply_at(&Event::Put(kv(&lost(5, 1))), 10);
    assert_eq!(grew(&fleet), None, "it may be long ago");
    fleet.apply_at(&Event::Put(kv(&lost(5, 1))), 20);
    assert_eq!(grew(&fleet), None);
    fleet.apply_at(&Event::Put(kv(&lost(7, 1))), 30);
    fleet.apply_at(&Event::Put(kv(&lost(7, 1))), 40);
    assert_eq!(grew(&fleet), Some(30));
    fleet.apply_at(&Event::Put(kv(&lost(0, 50))), 50);
    assert_eq!(grew(&fleet), Some(30));
    fleet.apply_at(&Event::Put(kv(&lost(1, 50))), 60);
    assert_eq!(grew(&fleet), Some(60));
}

#[test]
fn those_that_went_are_bounded() {
    let fleet = Fleet::default();
    for n in 0..MOST_GONE as u64 + 10 {
        let host = format!("h{n}");
        put(&fleet, &status("agent", &host));
        fleet.apply_at(&Event::Delete { key: format!("{STATUS_PREFIX}agent/{host}/1"), revision: 2 }, now_ms() + n);
    }
    assert_eq!(fleet.known().all().count(), MOST_GONE);
    assert_eq!((state(&fleet, "h0"), state(&fleet, "h5009")), (None, Some(State::Gone)));
}
