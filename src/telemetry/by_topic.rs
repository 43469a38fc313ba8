//! A number for each topic. The problem: who counts is on another thread than who shows, and topics come as they come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// See the module. Topics are those of the configuration, so there are not many.
#[derive(Debug, Default)]
pub struct ByTopic(Mutex<HashMap<Arc<str>, u64>>);

impl ByTopic {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, topic: &Arc<str>, number: u64) {
        *self.lock().entry(topic.clone()).or_default() += number;
    }

    /// These, and no others.
    pub fn replace(&self, numbers: impl IntoIterator<Item = (Arc<str>, u64)>) {
        let mut all = self.lock();
        all.clear();
        for (topic, number) in numbers {
            *all.entry(topic).or_default() += number;
        }
    }

    pub fn all(&self) -> Vec<(String, u64)> {
        self.lock().iter().map(|(topic, number)| (topic.to_string(), *number)).collect()
    }
}
