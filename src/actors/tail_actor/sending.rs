//! How what was read leaves a tail: journalled first, then sent; and what is pending in the journal, sent again as it was.

use super::{
    BACKOFF, TailActor, Waiting, now_ms,
    reading::{Allowance, cost},
};
use crate::{
    actors::tail_manager::TailCounters,
    crash,
    flow::{Credit, FileOrigin, Origin},
    journal::{JournalError, Range},
    messages::{AppendRange, LineBatch, Settled},
    tail::{Piece, Recut},
};
use actix::prelude::*;
use std::sync::Arc;

impl TailActor {
    pub(super) fn journal(&mut self, piece: Piece, credit: Credit, ctx: &mut Context<Self>) {
        let range = Range {
            begin: piece.begin,
            end: piece.end,
            read_ms: now_ms(),
            parts_before: piece.parts_before,
            ends_with: piece.ends_with,
            parts_after: self.reader.parts_before(),
            max_line_bytes: self.max_line_bytes,
            entry: self.origin.entry,
            partition: self.origin.partition,
            back: piece.back,
        };
        self.append(range, piece, credit, ctx);
    }

    /// Journals the range, by the rules that the piece was cut by, whatever the entry says by now.
    fn append(&mut self, range: Range, piece: Piece, credit: Credit, ctx: &mut Context<Self>) {
        let (append, file) = (self.shared.journal.append.clone(), self.id());
        let future = async move { append.send(AppendRange { file, range }).await };
        let then = future.into_actor(self).map(move |answer, tail, ctx| {
            tail.waiting = Waiting::Nothing;
            match answer {
                Ok(Ok(seq)) => tail.journalled(seq, &range, piece, credit, ctx),
                // Another place than the journal's: begin again from what it knows.
                Ok(Err(error @ (JournalError::OutOfOrder { .. } | JournalError::UnknownFile(_)))) => {
                    slog_scope::error!("a range doesn't fit the journal"; "path" => tail.path(), "reason" => %error);
                    tail.fail(ctx);
                }
                Ok(Err(error)) => tail.not_journalled(&error, range, piece, credit, ctx),
                // The journal is gone: the manager restarts everything from the new one.
                Err(_) => tail.fail(ctx),
            }
        });
        self.waiting = Waiting::Journal(ctx.spawn(then));
    }

    pub(super) fn not_journalled(
        &mut self,
        error: &JournalError,
        range: Range,
        piece: Piece,
        credit: Credit,
        ctx: &mut Context<Self>,
    ) {
        if self.failures == 0 {
            slog_scope::error!("reading stops: the journal can't be written";
                "path" => self.path(), "topic" => %self.origin.topic, "reason" => %error);
        }
        self.unjournalled = Some(Box::new((range, piece, credit)));
        self.failures += 1;
        let delay = BACKOFF.wait(self.failures);
        self.waiting = Waiting::Backoff(ctx.run_later(delay, |tail, ctx| {
            tail.waiting = Waiting::Nothing;
            if let Some(held) = tail.unjournalled.take() {
                tail.append(held.0, held.1, held.2, ctx);
            }
        }));
    }

    pub(super) fn journalled(
        &mut self,
        seq: u64,
        range: &Range,
        piece: Piece,
        credit: Credit,
        ctx: &mut Context<Self>,
    ) {
        crash::point("journal_appended");
        self.failures = 0;
        let settled = Settled { origin: self.id(), seq, delivered: piece.lines.len() as u32, dead: 0 };
        if piece.lines.is_empty() {
            self.shared.journal.settled.tell(settled);
            return self.step_later(ctx);
        }
        if crash::mutation("settle_before_delivery") {
            self.shared.journal.settled.tell(settled);
        }
        // The entry may have changed while the journal wrote: what is sent again has to be what was sent.
        let origin = self.origin_of(range);
        self.send(seq, range, piece, origin, credit, ctx);
    }

    /// Reads a pending range again and sends it as it was.
    pub(super) fn send_again(&mut self, seq: u64, range: Range, mut credit: Credit, ctx: &mut Context<Self>) {
        let settled = Settled { origin: self.id(), seq, delivered: 0, dead: 0 };
        match self.reader.recut(&range, &self.shared.pool) {
            Ok(Recut::Piece(piece)) if cost(&piece) > credit.bytes() && credit.bytes() < self.credit_share() => {
                // More lines than were thought: first the credit for them, without holding on to this one.
                let needed = Allowance { bytes: piece.data.len(), lines: piece.lines.len() };
                drop((self.shared.pool.seal(piece.data), credit));
                self.take_credit(ctx, Some((seq, range)), needed);
            }
            Ok(Recut::Piece(piece)) => {
                self.replay.pop_front();
                TailCounters::add(&self.shared.counters.replayed_ranges, 1);
                if piece.lines.is_empty() {
                    self.shared.journal.settled.tell(settled);
                    return self.step_later(ctx);
                }
                credit.shrink_to(cost(&piece));
                let origin = self.origin_of(&range);
                self.send(seq, &range, piece, origin, credit, ctx);
            }
            Ok(Recut::Lost { bytes }) => {
                self.replay.pop_front();
                TailCounters::add(&self.shared.counters.lost_bytes, bytes);
                slog_scope::error!("bytes were destroyed before they were delivered";
                    "path" => self.path(), "topic" => %self.origin.topic, "file" => %self.origin.file,
                    "begin" => range.begin, "end" => range.end, "bytes" => bytes);
                self.shared.journal.settled.tell(settled);
                self.step_later(ctx);
            }
            Err(error) => self.failed(&error, ctx),
        }
    }

    /// What the topic can have at most, in bytes.
    fn credit_share(&self) -> usize {
        self.shared.credits.share_bytes()
    }

    /// The origin with the rules of this range, which may be older than the present ones.
    pub(super) fn origin_of(&self, range: &Range) -> Arc<FileOrigin> {
        let now = &self.origin;
        if now.entry == range.entry && now.partition == range.partition {
            return now.clone();
        }
        Arc::new(FileOrigin {
            id: now.id,
            topic: now.topic.clone(),
            partition: range.partition,
            host: now.host.clone(),
            file: now.file,
            entry: range.entry,
            path: now.path.clone(),
        })
    }

    pub(super) fn send(
        &mut self,
        seq: u64,
        range: &Range,
        piece: Piece,
        origin: Arc<FileOrigin>,
        credit: Credit,
        ctx: &mut Context<Self>,
    ) {
        let data = self.shared.pool.seal(piece.data);
        let batch = LineBatch {
            origin: Origin::File(origin),
            seq,
            begin: range.begin,
            end: range.end,
            read_ms: range.read_ms,
            data,
            lines: piece.lines,
            records: Vec::new(),
            credit,
            settle_to: self.shared.journal.settled.clone(),
        };
        let sink = self.sink.clone();
        let future = async move { sink.send(batch).await };
        let then = future.into_actor(self).map(|answer, tail, ctx| {
            tail.waiting = Waiting::Nothing;
            match answer {
                Ok(()) => {
                    crash::point("sent");
                    tail.step(ctx);
                }
                // What was not taken is pending in the journal; `UseSink` sends it again.
                Err(_) => slog_scope::debug!("the sink has stopped"; "path" => tail.path()),
            }
        });
        self.waiting = Waiting::Send(ctx.spawn(then));
    }
}
