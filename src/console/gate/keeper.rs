//! What nobody asks for and has to be done all the same: sessions and tokens that are over go, old records of the audit
//! go, refused logins are written down together; and where there are no users, somebody has to be told how the first
//! one is made.

use super::{Gate, audit, sessions, tokens};
use crate::store::{Check, StoreError, Write};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(60);
/// Rounds from one cleaning to the next.
const CLEANING: u64 = 10;
const DAY_MS: i64 = 86_400_000;

/// Runs until it is dropped.
pub async fn keep(gate: Arc<Gate>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = gate.entrance.open_without_users;
    for round in 0_u64.. {
        ticks.tick().await;
        let now = crate::telemetry::now_ms() as i64;
        if !told {
            told = gate.tell_code().await;
        }
        gate.tell_refused(now).await;
        if round % CLEANING == 0
            && let Err(error) = gate.clean(now).await
        {
            slog_scope::warn!("what is over is not removed from the store; it is tried again"; "reason" => %error);
        }
    }
}

impl Gate {
    /// Tells the one-time code where it is needed; false while that isn't known.
    async fn tell_code(&self) -> bool {
        match self.users.any().await {
            Ok(true) => true,
            Ok(false) => match self.new_code() {
                Ok(code) => {
                    slog_scope::warn!("there are no users yet: open the page /setup and make the first one with this code";
                        "code" => code, "page" => self.entrance.url("/setup"));
                    true
                }
                Err(error) => {
                    slog_scope::error!("the first user can't be made"; "reason" => %error);
                    false
                }
            },
            Err(error) => {
                slog_scope::warn!("it isn't known whether there are users"; "reason" => %error);
                false
            }
        }
    }

    async fn tell_refused(&self, now: i64) {
        if let Some(record) = self.refused.due(now)
            && let Err(error) = audit::tell(&*self.store, &record).await
        {
            slog_scope::warn!("refused logins are not in the audit"; "record" => &record.detail, "reason" => %error);
        }
    }

    async fn clean(&self, now: i64) -> Result<(), StoreError> {
        sessions::forget(&*self.store, self.entrance.ends, now).await?;
        let days = i64::try_from(self.entrance.audit_days).unwrap_or(i64::MAX / DAY_MS);
        audit::forget(&*self.store, now.saturating_sub(days.saturating_mul(DAY_MS))).await?;
        // Those that are over are shown for another week.
        let items = self.store.list(tokens::PREFIX, None, tokens::MOST).await?;
        let over = |token: &tokens::Token| token.expires_ms.saturating_add(7 * DAY_MS) < now;
        for item in items.iter().filter(|item| tokens::read(item).is_none_or(|token| over(&token))) {
            self.store.commit(vec![Check::unchanged(item)], vec![Write::delete(&item.key)]).await?;
        }
        Ok(())
    }
}
