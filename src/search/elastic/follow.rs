//! New documents in the order in which they arrive. The problem: `@timestamp` says when a line was read; while a server was
//! away it comes minutes later, and who looks at the last seconds misses it for ever. But every shard numbers what is
//! written to it (`_seq_no`): a document with a higher number than was seen before is new, however old its line is. A
//! number may become visible a moment after a higher one, so a look reaches back to where the shards were a few looks
//! before, and leaves out what was told.

use super::{
    Elastic,
    ask::{self, too_large},
    dsl, hits, sort,
};
use crate::search::{
    budget::Room,
    model::{Hit, Order, SearchError},
    query::Query,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry};

/// Lines that were read so long ago are not new any more, and indices without any younger line are not looked at.
const OLDEST_MS: i64 = 24 * 3600 * 1000;
/// Looks that are reached back.
const BACK: usize = 4;
/// Lines of one shard that a look tells; the others are counted.
const MOST: u64 = 2_000;
/// Indices in which something may be written at the same time.
const INDICES: usize = 1_000;
/// After so many looks it is seen whether an index has more shards than the others had.
const PROBE: u64 = 30;

/// The highest number that is known of each shard: by its number within its index, and the index's name.
type Marks = BTreeMap<(u32, String), i64>;

/// A line's identity: file and offset; of a record of another producer its cursor, which names its place.
type Line = (Option<String>, Option<u64>, String);

/// What came.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// The oldest first.
    pub hits: Vec<Hit>,
    /// Lines that came too fast to be told.
    pub skipped: u64,
}

/// Follows the documents that match one query.
#[derive(Debug)]
pub struct Follow {
    query: Query,
    /// Of the last looks, the newest last.
    marks: VecDeque<Marks>,
    /// What was told, and by which look.
    told: HashMap<Line, u64>,
    looks: u64,
    /// The most shards that an index has.
    shards: u32,
    /// Lines of one shard that are asked for: fewer, while they are large.
    most: u64,
}

impl Follow {
    /// Tells of what comes from now on.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub async fn begin(elastic: &Elastic, query: Query) -> Result<Self, SearchError> {
        let (marks, shards) = all_marks(elastic).await?;
        Ok(Self { query, marks: VecDeque::from([marks]), told: HashMap::new(), looks: 0, shards, most: MOST })
    }

    /// What has come since the last look. After an error nothing is lost: the next look tells it.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub async fn look(&mut self, elastic: &Elastic) -> Result<News, SearchError> {
        let (Some(from), Some(newest)) = (self.marks.front(), self.marks.back()) else { return Ok(News::default()) };
        let filter = elastic.filter_of(&self.query).await?;
        let (mut found, mut newest, mut shards) = (Vec::new(), newest.clone(), self.shards.max(1));
        let (mut total, mut shard, mut room, mut most) = (0, 0, Room::default(), self.most);
        while shard < shards || self.looks.is_multiple_of(PROBE) {
            let Some(mut answer) = elastic.try_shard(shard, &body(from, shard, &filter, most)).await? else {
                if most == 0 {
                    return Err(too_large());
                }
                // A line that is larger than an answer is counted with those that are too many.
                most /= 2;
                continue;
            };
            if answer["_shards"]["total"].as_u64() == Some(0) {
                break;
            }
            take_marks(&answer, shard, &mut newest);
            total += answer["hits"]["total"]["value"].as_u64().unwrap_or_default();
            let fresh = hits(&mut answer, Order::NewestFirst)?.into_iter();
            // What there is no room for is counted, too.
            found.extend(fresh.filter(|hit| !self.told.contains_key(&line(hit))).take_while(|hit| room.take(hit)));
            shard += 1;
            shards = shards.max(shard);
        }
        self.shards = shards;
        self.most = (most * 2).clamp(1, MOST);
        if newest.len() > INDICES {
            // Those of former days: nothing is written to them any more.
            let (now, _) = all_marks(elastic).await?;
            newest.retain(|place, _| now.contains_key(place));
        }
        Ok(self.fresh(found, total, newest))
    }

    /// Leaves out what was told, and remembers where the shards are. `total`: all that match, found or too many.
    fn fresh(&mut self, found: Vec<Hit>, total: u64, newest: Marks) -> News {
        self.looks += 1;
        let looks = self.looks;
        let is_new = |told: &mut HashMap<Line, u64>, hit: &Hit| match told.entry(line(hit)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(looks);
                true
            }
        };
        let mut fresh: Vec<Hit> = found.into_iter().filter(|hit| is_new(&mut self.told, hit)).collect();
        fresh.sort_by(|a, b| (a.time_ms, &a.file, a.offset).cmp(&(b.time_ms, &b.file, b.offset)));
        // What no later look can find again.
        self.told.retain(|_, look| *look + BACK as u64 > looks);
        // What is told lies within what this look reached back to.
        let skipped = total.saturating_sub(self.told.len() as u64);
        if skipped > 0 {
            // Looking back would count them again.
            self.marks.clear();
            self.told.clear();
        }
        self.marks.push_back(newest);
        while self.marks.len() > BACK {
            self.marks.pop_front();
        }
        News { hits: fresh, skipped }
    }
}

fn line(hit: &Hit) -> Line {
    let place = if hit.file.is_some() { String::new() } else { hit.cursor.clone() };
    (hit.file.clone(), hit.offset, place)
}

fn recent() -> Value {
    dsl::span(Some(crate::telemetry::now_ms() as i64 - OLDEST_MS), None).collect()
}

/// The highest number of each index's documents that a look finds, whether they match or not.
fn by_index() -> Value {
    json!({"at": {"terms": {"field": "_index", "size": INDICES}, "aggs": {"mark": {"max": {"field": "_seq_no"}}}}})
}

/// Where all shards are now, and how many an index has at most.
async fn all_marks(elastic: &Elastic) -> Result<(Marks, u32), SearchError> {
    let body = json!({
        "size": 0, "track_total_hits": false, "query": {"bool": {"filter": recent()}}, "aggs": by_index(),
    });
    let mut marks = Marks::new();
    for shard in 0.. {
        let answer = elastic.search_shard(shard, &body).await?;
        if answer["_shards"]["total"].as_u64().unwrap_or_default() == 0 {
            return Ok((marks, shard));
        }
        if answer["aggregations"]["at"]["sum_other_doc_count"].as_u64() > Some(0) {
            let text = format!("more than {INDICES} indices are written to; a narrower pattern can be followed");
            return Err(SearchError::TooExpensive(text));
        }
        take_marks(&answer, shard, &mut marks);
    }
    Ok((marks, 0))
}

fn take_marks(answer: &Value, shard: u32, marks: &mut Marks) {
    for bucket in answer["aggregations"]["at"]["buckets"].as_array().into_iter().flatten() {
        let (Some(index), Some(mark)) = (bucket["key"].as_str(), bucket["mark"]["value"].as_f64()) else { continue };
        let known = marks.entry((shard, index.to_owned())).or_insert(-1);
        // Exact in a double up to 9e15.
        *known = (*known).max(mark as i64);
    }
}

/// Asks for what is new in the shards of this number; whether it matches is asked after the marks are made.
fn body(from: &Marks, shard: u32, filter: &Value, most: u64) -> Value {
    let of_shard = from.iter().filter(|((of, _), _)| *of == shard);
    let known: Vec<&str> = of_shard.clone().map(|((_, index), _)| index.as_str()).collect();
    let beyond = of_shard.map(|((_, index), mark)| {
        json!({"bool": {"filter": [{"term": {"_index": index}}, {"range": {"_seq_no": {"gt": mark}}}]}})
    });
    let mut new: Vec<Value> = beyond.collect();
    // An index that is new is new from its first document on.
    new.push(json!({"bool": {"must_not": [{"terms": {"_index": known}}]}}));
    let new = json!({"bool": {"should": new, "minimum_should_match": 1}});
    let mut filters: Vec<Value> = recent().as_array().cloned().unwrap_or_default();
    filters.push(new);
    json!({
        "size": most, "track_total_hits": true, "sort": sort(Order::NewestFirst),
        "query": {"bool": {"filter": filters}}, "aggs": by_index(), "post_filter": filter,
    })
}

impl Elastic {
    /// The query without any time.
    async fn filter_of(&self, query: &Query) -> Result<Value, SearchError> {
        Ok(dsl::query(query, &self.kinds(query).await?))
    }

    /// Searches the shards of this number of all indices.
    async fn search_shard(&self, shard: u32, body: &Value) -> Result<Value, SearchError> {
        self.try_shard(shard, body).await?.ok_or_else(too_large)
    }

    /// The same; `None`: the answer is larger than one may be.
    async fn try_shard(&self, shard: u32, body: &Value) -> Result<Option<Value>, SearchError> {
        let path = self.path("_search", &format!("&preference=_shards:{shard}"));
        Ok(ask::ask_up_to(&self.cluster, &path, Some(body)).await?.map(|answer| answer.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(offset: u64) -> Hit {
        let fields = serde_json::Map::new();
        Hit { time_ms: 5, file: Some("f".into()), offset: Some(offset), fields, cursor: String::new() }
    }

    fn follow(marks: Marks) -> Follow {
        Follow {
            query: Query::All,
            marks: VecDeque::from([marks]),
            told: HashMap::new(),
            looks: 0,
            shards: 1,
            most: MOST,
        }
    }

    fn marks(mark: i64) -> Marks {
        Marks::from([((0, "a".to_owned()), mark)])
    }

    #[test]
    fn a_line_that_several_looks_find_is_told_once_and_not_remembered_for_ever() {
        let mut follow = follow(marks(0));
        for look in 1..=1_000_u64 {
            // Each look finds what the last ones found, too.
            let found = (look.saturating_sub(BACK as u64 - 1).max(1)..=look).map(hit).collect();
            let found: Vec<Hit> = found;
            let total = found.len() as u64;
            let news = follow.fresh(found, total, marks(look as i64));
            assert_eq!(news.hits.iter().map(|hit| hit.offset).collect::<Vec<_>>(), [Some(look)]);
            assert_eq!(news.skipped, 0);
        }
        assert!(follow.told.len() <= BACK, "{}", follow.told.len());
        assert_eq!(follow.marks.front(), Some(&marks(1_000 - BACK as i64 + 1)), "so far back the next look reaches");
    }

    #[test]
    fn lines_that_were_too_many_are_counted_once() {
        let mut follow = follow(marks(0));
        assert_eq!(follow.fresh((0..10).map(hit).collect(), 10, marks(10)).skipped, 0);
        // Ten that were told and 25 that are new, of which five are beyond what a look tells.
        let news = follow.fresh((15..35).map(hit).collect(), 35, marks(35));
        assert_eq!((news.hits.len(), news.skipped), (20, 5));
        assert_eq!(follow.marks, [marks(35)], "the next look begins behind them");
        assert_eq!(follow.fresh((35..36).map(hit).collect(), 1, marks(36)).skipped, 0);
    }

    #[test]
    fn a_look_asks_for_what_is_beyond_each_shards_own_mark_and_for_new_indices() {
        let mut from = marks(7);
        from.insert((1, "b".to_owned()), 3);
        let asked = body(&from, 1, &json!({"match_all": {}}), MOST);
        let new = &asked["query"]["bool"]["filter"][1]["bool"]["should"];
        assert_eq!(new[0]["bool"]["filter"][0], json!({"term": {"_index": "b"}}));
        assert_eq!(new[0]["bool"]["filter"][1], json!({"range": {"_seq_no": {"gt": 3}}}));
        assert_eq!(new[1], json!({"bool": {"must_not": [{"terms": {"_index": ["b"]}}]}}));
    }

    #[test]
    fn marks_only_rise() {
        let answer = |mark: f64| json!({"aggregations": {"at": {"buckets": [{"key": "a", "mark": {"value": mark}}]}}});
        let mut marks = Marks::new();
        for (told, known) in [(5.0, 5), (3.0, 5), (9.0, 9)] {
            take_marks(&answer(told), 0, &mut marks);
            assert_eq!(marks[&(0, "a".to_owned())], known);
        }
    }
}
