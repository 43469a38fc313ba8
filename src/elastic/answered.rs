//! What becomes of a request as a whole: judged item by item, split, or put back into its lane.

use super::{
    answer::Answer,
    lanes::{Lane, LaneKey},
    queue::Queue,
    request::{Outcome, Request},
    verdict::{Reason, Verdict},
};
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::Instant;

impl Queue {
    /// What became of a request.
    pub fn answered(&mut self, mut request: Request, answer: Answer, now: Instant) -> Outcome {
        let bytes = request.body.len();
        self.counters.request(bytes as u64, now.saturating_duration_since(request.built));
        self.keep_buffer(std::mem::take(&mut request.body));
        if let Some(lane) = self.lanes.get_mut(&request.lane) {
            lane.in_flight -= 1;
        }
        let outcome = match answer {
            Answer::Items(verdicts) => self.judge(&request, verdicts, now),
            Answer::TooLarge if request.items.len() == 1 => {
                let full = self.full();
                self.lane(request.lane.clone()).limit = full;
                let reason = Reason::new(413, "document_too_large", "one document over the server's size limit");
                self.judge(&request, vec![(0, Verdict::Dead(reason))], now)
            }
            Answer::TooLarge => {
                self.counters.split.fetch_add(1, Relaxed);
                slog_scope::warn!("a request is over the server's size limit and is split; lower bulk_bytes or raise \
                    http.max_content_length"; "bytes" => bytes, "documents" => request.items.len());
                self.split(&request, bytes);
                Outcome::default()
            }
            Answer::Refused(reason) => {
                if reason.status == 400 {
                    // Perhaps one of its documents makes the whole request malformed: the halves will show.
                    self.split(&request, bytes);
                } else {
                    self.put_back(&request);
                }
                self.request_failed(&request, &reason, now);
                Outcome::default()
            }
            Answer::Silent { timed_out, reason } => {
                self.installed.clear();
                self.generation += 1;
                if timed_out && request.lane == LaneKey::Main {
                    self.each_on_its_own(&request, &reason, now);
                } else {
                    self.put_back(&request);
                    self.request_failed(&request, &reason, now);
                }
                Outcome::default()
            }
        };
        if self.lanes.get(&request.lane).is_some_and(Lane::is_idle) && request.lane != LaneKey::Main {
            self.lanes.remove(&request.lane);
        }
        self.tell_paused();
        outcome
    }

    /// Shows what takes nothing at the moment: topics by the 10 % rule, indices, or the servers as a whole.
    fn tell_paused(&self) {
        let waits = |(key, lane): (&LaneKey, &Lane)| {
            let name = match key {
                // One request may fail for many reasons; several in a row are none of chance.
                LaneKey::Main if lane.failures > 1 => "Elasticsearch".to_owned(),
                LaneKey::Index(index) if lane.diverting => index.to_string(),
                _ => return None,
            };
            Some((name, lane.why.as_deref().unwrap_or_default().to_owned()))
        };
        let topics = self.refusals.paused().into_iter().map(|(topic, reason)| {
            let text = format!("too many of its records are refused ({reason}): compare the index's mapping with them");
            (topic.to_string(), text)
        });
        self.counters.set_paused(self.lanes.iter().filter_map(waits).chain(topics).collect());
    }

    /// The memory of a body is used for the next one.
    fn keep_buffer(&mut self, body: Bytes) {
        if self.spare.len() <= self.settings.in_flight && body.is_unique() {
            let mut buffer = Vec::from(body);
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    fn put_back(&mut self, request: &Request) {
        self.counters.retried.fetch_add(request.items.len() as u64, Relaxed);
        self.lane(request.lane.clone()).put_back(request.items.iter().map(|sent| sent.item));
    }

    fn split(&mut self, request: &Request, bytes: usize) {
        self.put_back(request);
        self.lane(request.lane.clone()).halve(request.items.len(), bytes);
    }

    fn request_failed(&mut self, request: &Request, reason: &Reason, now: Instant) {
        self.counters.failed_requests.fetch_add(1, Relaxed);
        let backoff = self.settings.backoff;
        let lane = self.lane(request.lane.clone());
        lane.why = Some(reason.told());
        lane.failed(&backoff, request.built, now);
        tell(reason, "a bulk request failed, its records are sent again", "", request.items.len());
    }

    /// A request got no answer in time. One index that hangs is enough for that, so each index tries by itself.
    fn each_on_its_own(&mut self, request: &Request, reason: &Reason, now: Instant) {
        self.counters.failed_requests.fetch_add(1, Relaxed);
        self.counters.retried.fetch_add(request.items.len() as u64, Relaxed);
        let backoff = self.settings.backoff;
        for sent in &request.items {
            let index = request.places[sent.place as usize].index.clone();
            self.lane(LaneKey::Index(index)).items.push_back(sent.item);
        }
        for place in &request.places {
            let lane = self.lane(LaneKey::Index(place.index.clone()));
            lane.diverting = true;
            lane.why = Some(reason.told());
            lane.failed(&backoff, request.built, now);
        }
        tell(reason, "no answer in time, the indices are tried one by one", "", request.items.len());
    }
}

/// One record in the log: ERROR where an operator has to do something, without the document's content.
pub(super) fn tell(reason: &Reason, what: &str, about: &str, records: usize) {
    let (status, kind, advice) = (reason.status, reason.kind.to_string(), reason.advice());
    let text = if status == 400 { String::new() } else { reason.text.to_string() };
    if reason.needs_operator() {
        slog_scope::error!("{}", what; "about" => about, "status" => status, "kind" => kind, "reason" => text,
            "records" => records, "advice" => advice);
    } else {
        slog_scope::warn!("{}", what; "about" => about, "status" => status, "kind" => kind, "reason" => text,
            "records" => records, "advice" => advice);
    }
}
