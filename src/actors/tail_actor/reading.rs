//! What a tail does next: look, take credit, read, and at the end wait, finish, settle.

use super::{ASSUMED_LINE_BYTES, RECORD_BYTES, TailActor, Waiting};
use crate::{
    actors::tail_manager::TailCounters,
    crash,
    flow::Credit,
    journal::Range,
    messages::{AwaitSettled, TailState, UpdateFile, Wake},
    tail::{self, Look, Piece, ReadOutcome},
};
use actix::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

/// How much may be read at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub bytes: usize,
    pub lines: usize,
}

impl Allowance {
    fn credit(self) -> usize {
        self.bytes + self.lines * RECORD_BYTES
    }

    /// As much of it as `credit` bytes are enough for: a topic has only its share.
    fn within(self, credit: usize) -> Self {
        if credit >= self.credit() {
            return self;
        }
        let part = |n: usize| (n as u64 * credit as u64 / self.credit() as u64).max(1) as usize;
        Self { bytes: part(self.bytes), lines: part(self.lines) }
    }
}

/// What a piece costs until it is settled, in bytes of credit.
pub(super) fn cost(piece: &Piece) -> usize {
    piece.data.len() + piece.lines.len() * RECORD_BYTES
}

impl TailActor {
    /// Does the next thing there is to do, unless something is being waited for.
    pub(super) fn step(&mut self, ctx: &mut Context<Self>) {
        if self.waiting != Waiting::Nothing || !self.shared.managed.load(Relaxed) {
            return;
        }
        let has_sink = self.sink.is_connected();
        if let (Some((seq, range)), true) = (self.replay.front().copied(), has_sink) {
            let allowance = self.allowance((range.end - range.begin) as usize);
            return self.take_credit(ctx, Some((seq, range)), allowance);
        }
        if (self.draining || self.replaced.is_some()) && (has_sink || self.replay.is_empty()) {
            return self.settle(ctx);
        }
        if has_sink && self.ready && !self.held && self.replay.is_empty() {
            self.look(ctx);
        }
    }

    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        match self.reader.look() {
            Ok(Look::Unread(_)) => {
                self.finish = false;
                self.caught_up = false;
                self.read_next(ctx);
            }
            Ok(Look::Nothing) if self.finish && self.reader.unfinished_bytes() > 0 => self.read_next(ctx),
            Ok(Look::Nothing) => self.at_end(ctx),
            Ok(Look::Replaced { lost_bytes }) => self.replaced(lost_bytes, ctx),
            Err(error) => self.failed(&error, ctx),
        }
        self.count_lost();
    }

    pub(super) fn read_next(&mut self, ctx: &mut Context<Self>) {
        if let Some(quiet) = self.quiet.take() {
            ctx.cancel_future(quiet);
        }
        let bytes = self.reader.next_read_bytes(&self.shared.pool);
        self.take_credit(ctx, None, self.allowance(bytes));
    }

    /// What `bytes` and their lines are expected to need.
    pub(super) fn allowance(&self, bytes: usize) -> Allowance {
        let lines = bytes / self.line_bytes.max(1) as usize + 1;
        // A quarter of the topic's share at most, so that one piece is read while others are delivered.
        let most = (self.shared.credits.share_bytes() / (4 * RECORD_BYTES)).clamp(1, tail::MOST_LINES);
        // Lines are never all of one length: a little more than expected, so that few pieces are cut short by it.
        Allowance { bytes, lines: (lines + lines / 8).min(most) }
    }

    /// Takes credit, then reads: the range that is to be sent again, or what comes next.
    pub(super) fn take_credit(&mut self, ctx: &mut Context<Self>, again: Option<(u64, Range)>, allowance: Allowance) {
        let wanted = allowance.credit();
        if let Some(credit) = self.shared.credits.try_take(&self.origin.topic, wanted) {
            return self.with_credit(again, allowance, credit, ctx);
        }
        let (credits, topic) = (self.shared.credits.clone(), self.origin.topic.clone());
        let future = async move { credits.take(&topic, wanted).await };
        let then = future.into_actor(self).map(move |credit, tail, ctx| {
            tail.waiting = Waiting::Nothing;
            tail.with_credit(again, allowance, credit, ctx);
        });
        self.waiting = Waiting::Credit(ctx.spawn(then));
    }

    pub(super) fn with_credit(
        &mut self,
        again: Option<(u64, Range)>,
        allowance: Allowance,
        credit: Credit,
        ctx: &mut Context<Self>,
    ) {
        match again {
            Some((seq, range)) => self.send_again(seq, range, credit, ctx),
            None => self.read(allowance.within(credit.bytes()), credit, ctx),
        }
    }

    pub(super) fn read(&mut self, allowed: Allowance, mut credit: Credit, ctx: &mut Context<Self>) {
        let outcome = self.reader.read_within(allowed.bytes, allowed.lines, &self.shared.pool, self.finish);
        self.count_lost();
        match outcome {
            Ok(ReadOutcome::Piece(piece)) => {
                crash::point("read");
                credit.shrink_to(cost(&piece));
                // Two bytes at least: a line and its end.
                self.line_bytes =
                    (piece.data.len() / piece.lines.len().max(1)).clamp(2, ASSUMED_LINE_BYTES as usize) as u32;
                TailCounters::add(&self.shared.counters.lines_read, piece.lines.len() as u64);
                TailCounters::add(&self.shared.counters.bytes_read, piece.end - piece.begin);
                self.update_head();
                self.journal(piece, credit, ctx);
            }
            Ok(ReadOutcome::Nothing) => {
                drop(credit);
                self.at_end(ctx);
            }
            Ok(ReadOutcome::Replaced { lost_bytes }) => self.replaced(lost_bytes, ctx),
            Err(error) => self.failed(&error, ctx),
        }
    }

    /// The head that the file is recognised by grows with it until it has its 64 bytes.
    pub(super) fn update_head(&mut self) {
        if tail::is_complete(&self.head) || self.reader.position() <= u64::from(self.head.len) {
            return;
        }
        if let Ok(head) = tail::head_of_file(self.reader.file())
            && head.len > self.head.len
        {
            self.head = head;
            // No answer is needed: a shorter head recognises the file as well, only less surely.
            self.shared.journal.update.tell(UpdateFile { file: self.id(), path: None, head: Some(head) });
        }
    }

    /// Goes on after the others have had their turn.
    pub(super) fn step_later(&mut self, ctx: &mut Context<Self>) {
        self.shared.stats.sent_one();
        ctx.notify(Wake);
    }

    /// Everything that is there is read.
    pub(super) fn at_end(&mut self, ctx: &mut Context<Self>) {
        self.superseded |= self.reader.is_unlinked();
        if !self.superseded {
            return;
        }
        if !self.caught_up {
            self.caught_up = true;
            self.report(TailState::CaughtUp);
        }
        if self.finish {
            return self.settle(ctx);
        }
        if self.quiet.is_none() {
            self.quiet = Some(ctx.run_later(self.shared.quiet, |tail, ctx| {
                tail.quiet = None;
                tail.finish = true;
                tail.step(ctx);
            }));
        }
    }

    pub(super) fn replaced(&mut self, lost_bytes: u64, ctx: &mut Context<Self>) {
        self.replaced = Some(lost_bytes);
        // The new content need not wait for the old one's delivery.
        self.report(TailState::Replaced { lost_bytes });
        self.settle(ctx);
    }

    /// Waits until all is settled, and ends; unless the file has grown meanwhile.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) {
        let (journal, file) = (self.shared.journal.await_settled.clone(), self.id());
        let future = async move { journal.send(AwaitSettled(file)).await };
        let then = future.into_actor(self).map(|answer, tail, ctx| {
            tail.waiting = Waiting::Nothing;
            if answer.is_err() {
                return tail.fail(ctx);
            }
            let quiet = tail.finish && matches!(tail.reader.look(), Ok(Look::Nothing));
            if tail.replaced.is_some() || (quiet && tail.reader.is_unlinked()) {
                tail.end(TailState::Gone, ctx);
            } else if tail.draining || quiet {
                tail.end(TailState::Done, ctx);
            } else {
                tail.step(ctx);
            }
        });
        self.waiting = Waiting::Settling(ctx.spawn(then));
    }

    pub(super) fn count_lost(&mut self) {
        let bytes = self.reader.take_lost();
        if bytes > 0 {
            TailCounters::add(&self.shared.counters.lost_bytes, bytes);
            slog_scope::error!("bytes were cut off the file before they were read";
                "path" => self.path(), "topic" => %self.origin.topic, "file" => %self.origin.file, "bytes" => bytes);
        }
    }
}
