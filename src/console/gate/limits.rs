//! How often somebody may try to log in. The problem: whoever guesses passwords must be slow, also from many addresses;
//! but strangers who fail in somebody's name must not keep that somebody out, and ten thousand addresses must not fill
//! the memory. So there are token buckets: for an address, for a name from an address, and for a name from everywhere;
//! a browser that has logged in to the name before has a bucket of its own instead of the last one. And whoever knows the
//! password must not fill store and audit by it: the logins of a name that work have a bucket, too, however they come.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How many tries at once, and how long until the next one.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    each: Duration,
}

const OF_ADDRESS: Rate = Rate { burst: 30.0, each: Duration::from_secs(4) };
const OF_NAME_FROM_ADDRESS: Rate = Rate { burst: 6.0, each: Duration::from_secs(20) };
const OF_NAME: Rate = Rate { burst: 60.0, each: Duration::from_secs(10) };
const OF_BROWSER: Rate = Rate { burst: 10.0, each: Duration::from_secs(10) };
/// More than a person needs; a program has tokens.
const OF_LOGIN: Rate = Rate { burst: 60.0, each: Duration::from_secs(10) };
/// Buckets of one kind.
const MOST: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    by_key: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, by_key: HashMap::new() }
    }

    fn level(&self, bucket: Bucket, now: Instant) -> f64 {
        let refilled = now.saturating_duration_since(bucket.at).as_secs_f64() / self.rate.each.as_secs_f64();
        (bucket.tokens + refilled).min(self.rate.burst)
    }

    /// How long until there is one, if there is none.
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let level = self.level(*self.by_key.get(key)?, now);
        (level < 1.0).then(|| self.rate.each.mul_f64(1.0 - level))
    }

    fn take(&mut self, key: K, now: Instant) {
        if self.by_key.len() >= MOST && !self.by_key.contains_key(&key) {
            self.forget(now);
        }
        let full = Bucket { tokens: self.rate.burst, at: now };
        let level = self.level(*self.by_key.get(&key).unwrap_or(&full), now);
        self.by_key.insert(key, Bucket { tokens: level - 1.0, at: now });
    }

    fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.by_key.get_mut(key) {
            bucket.tokens += 1.0;
        }
    }

    /// Forgets the fuller half: what is nearly empty holds back somebody who tries again and again.
    fn forget(&mut self, now: Instant) {
        let mut levels: Vec<f64> = self.by_key.values().map(|bucket| self.level(*bucket, now)).collect();
        levels.sort_by(f64::total_cmp);
        let middle = levels[levels.len() / 2];
        let kept: Vec<(K, Bucket)> = self
            .by_key
            .iter()
            .filter(|(_, bucket)| self.level(**bucket, now) < middle)
            .map(|(key, bucket)| (key.clone(), *bucket))
            .collect();
        self.by_key = kept.into_iter().collect();
    }
}

/// A network that one person may have for themselves: an IPv4 address, or 64 bits of an IPv6 one.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.to_string(),
            None => {
                let parts = ip.segments();
                format!("{:x}:{:x}:{:x}:{:x}::", parts[0], parts[1], parts[2], parts[3])
            }
        },
        _ => address.to_owned(),
    }
}

/// Who tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    network: String,
    name: String,
    /// The browser's mark, if it has logged in to this name before.
    browser: Option<String>,
}

impl Try {
    pub fn new(address: &str, name: &str, browser: Option<&str>) -> Self {
        // As long as it wants to be; only the same has to be the same.
        let name: String = name.chars().take(100).collect();
        Self { network: network(address), name, browser: browser.map(str::to_owned) }
    }
}

/// All buckets.
#[derive(Debug)]
pub struct Limits {
    of_address: Buckets<String>,
    of_name_from_address: Buckets<(String, String)>,
    of_name: Buckets<String>,
    of_browser: Buckets<String>,
    /// Those that worked, by name.
    of_login: Buckets<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            of_address: Buckets::new(OF_ADDRESS),
            of_name_from_address: Buckets::new(OF_NAME_FROM_ADDRESS),
            of_name: Buckets::new(OF_NAME),
            of_browser: Buckets::new(OF_BROWSER),
            of_login: Buckets::new(OF_LOGIN),
        }
    }
}

impl Limits {
    /// Counts a try, or says how long to wait.
    ///
    /// # Errors
    /// The time until the next try.
    pub fn take(&mut self, who: &Try, now: Instant) -> Result<(), Duration> {
        let own = (who.name.clone(), who.network.clone());
        let waits = match &who.browser {
            Some(browser) => [self.of_browser.wait(browser, now), None, None],
            None => [
                self.of_address.wait(&who.network, now),
                self.of_name_from_address.wait(&own, now),
                self.of_name.wait(&who.name, now),
            ],
        };
        if let Some(longest) = waits.into_iter().flatten().max() {
            return Err(longest);
        }
        match &who.browser {
            Some(browser) => self.of_browser.take(browser.clone(), now),
            None => {
                self.of_address.take(who.network.clone(), now);
                self.of_name_from_address.take(own, now);
                self.of_name.take(who.name.clone(), now);
            }
        }
        Ok(())
    }

    /// The try was good: it counts as a login and no longer as a try; or says how long this name has to wait.
    ///
    /// # Errors
    /// The time until the next login.
    pub fn was_good(&mut self, who: &Try, now: Instant) -> Result<(), Duration> {
        match &who.browser {
            Some(browser) => self.of_browser.give_back(browser),
            None => {
                self.of_address.give_back(&who.network);
                self.of_name_from_address.give_back(&(who.name.clone(), who.network.clone()));
                self.of_name.give_back(&who.name);
            }
        }
        if let Some(wait) = self.of_login.wait(&who.name, now) {
            return Err(wait);
        }
        self.of_login.take(who.name.clone(), now);
        Ok(())
    }

    #[cfg(test)]
    fn kept(&self) -> usize {
        self.of_address.by_key.len() + self.of_name_from_address.by_key.len() + self.of_name.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(limits: &mut Limits, who: &Try, now: Instant) -> usize {
        (0..1_000).take_while(|_| limits.take(who, now).is_ok()).count()
    }

    #[test]
    fn one_who_guesses_is_soon_slow_and_later_may_try_again() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let who = Try::new("10.0.0.1", "anna", None);
        assert_eq!(tries(&mut limits, &who, now), 6);
        let wait = limits.take(&who, now).unwrap_err();
        assert!(wait <= OF_NAME_FROM_ADDRESS.each && wait > Duration::from_secs(19), "{wait:?}");
        assert_eq!(tries(&mut limits, &who, now + Duration::from_secs(40)), 2);
        // Other names from there: what the address has left.
        let mut others = 0;
        for i in 0..100 {
            others += tries(&mut limits, &Try::new("10.0.0.1", &format!("user{i}"), None), now).min(1);
        }
        assert!(others < 30, "{others}");
    }

    #[test]
    fn a_login_that_works_costs_no_try_and_only_a_program_makes_too_many() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let who = |n: usize, browser| Try::new(&format!("10.0.0.{}", n % 200), "anna", browser);
        let mut login = |who: &Try, now| limits.take(who, now).and_then(|()| limits.was_good(who, now));
        let logins = (0..1_000).take_while(|n| login(&who(*n, None), now).is_ok()).count();
        assert_eq!(logins, 60, "whatever the number of addresses");
        let wait = login(&who(7, Some("her browser")), now).unwrap_err();
        assert!(wait <= OF_LOGIN.each && wait > Duration::from_secs(9), "{wait:?}");
        login(&Try::new("10.0.0.1", "bert", None), now).unwrap();
        let later = now + Duration::from_secs(20);
        assert_eq!((0..1_000).take_while(|n| login(&who(*n, None), later).is_ok()).count(), 2);
        // Who is too often right is held back by nothing else.
        assert_eq!(tries(&mut limits, &who(7, None), later), 6);
    }

    #[test]
    fn strangers_from_everywhere_are_slow_and_keep_nobody_out_whose_browser_is_known() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let from = |i: u32| format!("10.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255);
        let good = (0..50_000).filter(|i| limits.take(&Try::new(&from(*i), "anna", None), now).is_ok()).count();
        assert_eq!(good, 60, "whatever the number of addresses");
        limits.take(&Try::new("192.168.0.1", "anna", Some("her browser")), now).unwrap();
        limits.take(&Try::new("192.168.0.1", "bert", None), now).unwrap();
    }

    #[test]
    fn ten_thousands_of_names_and_addresses_take_bounded_memory_and_forget_none_who_is_held_back() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let who = Try::new("10.0.0.1", "anna", None);
        assert_eq!(tries(&mut limits, &who, now), 6);
        for i in 0..100_000_u32 {
            let address = format!("2001:db8:{:x}:{:x}::1", i >> 16, i & 0xffff);
            limits.take(&Try::new(&address, &format!("user{i}"), None), now).unwrap();
        }
        assert!(limits.kept() <= 3 * MOST, "{}", limits.kept());
        assert!(limits.take(&who, now).is_err(), "still held back");
    }

    #[test]
    fn one_network_is_one() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }
}
