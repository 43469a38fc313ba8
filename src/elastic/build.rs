//! Builds requests. The problem: lines of all indices come mixed, some can't be written yet, and a request has to
//! stay within its bytes; so lines are written one after the other until it is full, and those that have to wait are
//! put into the lane of what they wait for.

use super::{
    batches::Item,
    lanes::{Lane, LaneKey},
    queue::{OVERHEAD_BYTES, Queue},
    request::{Request, Sent},
};
use crate::{document::Place, flow::Origin};
use std::sync::{Arc, atomic::Ordering::Relaxed};
use tokio::time::Instant;

/// A request in the making.
struct Building {
    main: bool,
    items: Vec<Sent>,
    places: Vec<Arc<Place>>,
    /// The place of the line before, and its number: mostly the next line's too.
    last: Option<(Arc<Place>, u32)>,
}

impl Queue {
    /// A request of a lane's next lines; `None` where all of them have to wait for something.
    pub(super) fn build(&mut self, key: &LaneKey, now: Instant) -> Option<Request> {
        let full = self.full();
        let mut lane = self.lanes.remove(key).unwrap_or_else(|| Lane::new(full));
        let mut body = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(full.bytes + full.bytes / 16));
        let mut request = Building { main: *key == LaneKey::Main, items: Vec::new(), places: Vec::new(), last: None };
        while request.items.len() < lane.limit.items && body.len() < lane.limit.bytes {
            let again = lane.items.pop_front();
            let fresh = again.is_none();
            let Some(item) = again.or_else(|| if request.main { self.next_fresh() } else { None }) else {
                break;
            };
            let before = body.len();
            self.write(&mut body, &mut request, item, fresh);
            if body.len() > lane.limit.bytes && request.items.len() > 1 {
                body.truncate(before);
                request.items.pop();
                lane.items.push_front(item);
                break;
            }
        }
        if request.main || !lane.is_idle() || !request.items.is_empty() {
            self.lanes.insert(key.clone(), lane);
        }
        if request.items.is_empty() {
            self.spare.push(body);
            return None;
        }
        crate::crash::point("bulk_built");
        Some(Request { lane: key.clone(), items: request.items, places: request.places, built: now, body: body.into() })
    }

    fn next_fresh(&mut self) -> Option<Item> {
        let first = self.fresh.front_mut()?;
        let item = Item { slot: first.slot, line: first.next_line };
        first.next_line += 1;
        let (lines, bytes) = match self.batches.get(item.slot) {
            Some(batch) => (batch.lines.len(), batch.lines[item.line as usize].len as usize),
            None => (0, 0),
        };
        self.fresh_bytes = self.fresh_bytes.saturating_sub(bytes + OVERHEAD_BYTES);
        if first.next_line as usize >= lines {
            self.fresh.pop_front();
        }
        Some(item)
    }

    /// Writes a line's document, or lets it wait in the lane of what it lacks.
    fn write(&mut self, body: &mut Vec<u8>, request: &mut Building, item: Item, fresh: bool) {
        let Some(batch) = self.batches.get(item.slot) else { return };
        let Origin::Partition(origin) = &batch.origin else { return };
        let (line, record) = (&batch.lines[item.line as usize], &batch.records[item.line as usize]);
        let key = record.key.map(|(start, len)| &batch.data[start as usize..][..len as usize]);
        let located = match self.documents.locate(&origin.topic, key, record) {
            Ok(located) => located,
            Err(entry) => return self.lane(LaneKey::Entry(entry)).items.push_back(item),
        };
        if fresh && located.without_entry {
            self.counters.without_entry.fetch_add(1, Relaxed);
        }
        let place = match &request.last {
            Some((last, place)) if Arc::ptr_eq(last, &located.place) => *place,
            _ => match self.way_to(&located.place, request) {
                Ok(place) => place,
                Err(lane) => return self.lane(lane).items.push_back(item),
            },
        };
        self.documents.write(body, &located, origin, record, line.part, batch.bytes(line));
        request.items.push(Sent { item, place });
    }

    /// The number of a place within the request, or the lane to wait in.
    fn way_to(&self, place: &Arc<Place>, request: &mut Building) -> Result<u32, LaneKey> {
        if self.settings.install_templates && !self.installed.contains(&place.pattern) {
            return Err(LaneKey::Pattern(place.pattern.clone()));
        }
        let known = request.places.iter().position(|known| known.index == place.index);
        if known.is_none() && request.main {
            let lane = LaneKey::Index(place.index.clone());
            if self.lanes.get(&lane).is_some_and(|lane| lane.diverting) {
                return Err(lane);
            }
        }
        let number = known.unwrap_or_else(|| {
            request.places.push(place.clone());
            request.places.len() - 1
        }) as u32;
        request.last = Some((place.clone(), number));
        Ok(number)
    }
}
