//! Who makes a call: name, role, and which topics' lines may be seen.

use super::super::error::ApiError;
use crate::search::{
    glob::{Glob, Token, Wildcard},
    model::Hit,
    query::{Query, Test},
};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload};
use serde::{Deserialize, Serialize};
use std::future::{Ready, ready};

/// Stands where something could name topics that who asks may not see.
pub const HIDDEN: &str = "only who may see all topics may read this";
/// The field that a line's topic stands in.
pub const TOPIC_FIELD: &str = "logweir.topic";

/// What somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Search and look.
    Viewer,
    /// Change what is collected.
    Editor,
    /// Decide who may do what.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text:?} is no role; viewer, editor and admin are"))
    }
}

/// The topics whose lines somebody may see: patterns with `*` and `?`, any of which may fit. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Topics(Vec<String>);

impl Default for Topics {
    fn default() -> Self {
        Self(vec!["*".into()])
    }
}

impl From<Topics> for Vec<String> {
    fn from(topics: Topics) -> Self {
        topics.0
    }
}

impl TryFrom<Vec<String>> for Topics {
    type Error = String;

    fn try_from(patterns: Vec<String>) -> Result<Self, String> {
        const MOST: usize = 50;
        // A topic's characters, and the two of a pattern.
        let good = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        if patterns.is_empty() || patterns.len() > MOST {
            return Err(format!("topics: 1 to {MOST} patterns are expected; * means all"));
        }
        for pattern in &patterns {
            if pattern.is_empty() || pattern.len() > 249 || !pattern.chars().all(good) {
                return Err(format!("topics: {pattern:?} is no pattern of topics: letters, digits, . _ - * ?"));
            }
            if glob(pattern).wildcards() > crate::search::glob::MAX_WILDCARDS {
                return Err(format!("topics: {pattern:?} has too many wildcards"));
            }
        }
        Ok(Self(patterns))
    }
}

fn glob(pattern: &str) -> Glob {
    let mut glob = Glob::default();
    for c in pattern.chars() {
        glob.push(match c {
            '*' => Token::Wildcard(Wildcard::Any),
            '?' => Token::Wildcard(Wildcard::One),
            c => Token::Char(c),
        });
    }
    glob
}

impl Topics {
    pub fn all(&self) -> bool {
        self.0.iter().any(|pattern| glob(pattern).is_any())
    }

    pub fn allow(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| glob(pattern).matches(topic))
    }

    /// Whether a line may be seen; one without a topic only by those who may see all.
    pub fn allow_hit(&self, hit: &Hit) -> bool {
        self.all()
            || hit.fields.get(TOPIC_FIELD).and_then(|topic| topic.as_str()).is_some_and(|topic| self.allow(topic))
    }

    /// What the query finds, of these topics only.
    pub fn restrict(&self, query: Query) -> Query {
        if self.all() {
            return query;
        }
        let test = |pattern: &String| match glob(pattern) {
            glob if glob.wildcards() > 0 => Test::Wildcard(glob),
            _ => Test::Is(pattern.clone()),
        };
        let of = |pattern| Query::Field { name: TOPIC_FIELD.into(), test: test(pattern) };
        let mut topics: Vec<Query> = self.0.iter().map(of).collect();
        let topics = if topics.len() == 1 { topics.remove(0) } else { Query::Or(topics) };
        match query {
            Query::All => topics,
            query => Query::And(vec![topics, query]),
        }
    }

    /// What both have; `None`: nothing. Of two patterns that overlap (`a*`, `*b`) nothing is common.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let own = self.0.iter().filter(|pattern| other.has(pattern));
        let others = other.0.iter().filter(|pattern| self.has(pattern));
        let mut common: Vec<String> = own.chain(others).cloned().collect();
        common.sort_unstable();
        common.dedup();
        (!common.is_empty()).then_some(Self(common))
    }

    /// Whether all topics of the pattern are among these.
    fn has(&self, pattern: &str) -> bool {
        let is_topic = !pattern.contains(['*', '?']);
        self.all() || self.0.iter().any(|own| own == pattern) || (is_topic && self.allow(pattern))
    }

    /// Those of `self` that `owner` has, too: nobody gives away what they haven't got.
    ///
    /// # Errors
    /// A pattern that `owner` doesn't have.
    pub fn within(&self, owner: &Self) -> Result<(), String> {
        match self.0.iter().find(|pattern| !owner.has(pattern)) {
            Some(pattern) => Err(format!("topics: {pattern:?} is more than you may see yourself")),
            None => Ok(()),
        }
    }
}

/// How somebody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// It is this machine's own user: there are no others.
    Local,
    Session {
        /// Its key in the store.
        key: String,
        /// What its changes have to bring along.
        csrf: String,
    },
    /// The token's id.
    Token(String),
}

/// Somebody who may make this call. Handlers take it as a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub role: Role,
    pub topics: Topics,
    pub by: By,
    /// Where the call comes from.
    pub address: String,
}

impl Person {
    /// Who uses a console without users: whoever can reach this machine's loopback.
    pub fn local(address: String) -> Self {
        Self { name: "local".into(), role: Role::Admin, topics: Topics::default(), by: By::Local, address }
    }

    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    /// The topics whose entries may be seen: a key is changed as a whole, so who may change keys sees all that is in them.
    pub fn entries(&self) -> Topics {
        if self.may(Role::Editor) { Topics::default() } else { self.topics.clone() }
    }
}

impl FromRequest for Person {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let person = request.extensions().get::<Self>().cloned();
        ready(person.ok_or_else(|| ApiError::unknown("log in first")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(patterns: &[&str]) -> Topics {
        Topics::try_from(patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_query_finds_nothing_of_other_topics_whatever_it_says() {
        let some = topics(&["shop-*", "web"]);
        let everything_else = crate::search::parse::parse("x OR NOT x").unwrap();
        let restricted = some.restrict(everything_else.clone());
        let Query::And(parts) = &restricted else { panic!("{restricted:?}") };
        assert_eq!(parts[1], everything_else, "the whole query is inside");
        assert_eq!(some.restrict(Query::All).to_string(), "logweir.topic:shop\\-* OR logweir.topic:web");
        assert_eq!(Topics::default().restrict(Query::All), Query::All);
        assert_eq!(topics(&["a", "**"]).restrict(everything_else.clone()), everything_else);
    }

    #[test]
    fn a_line_is_seen_by_its_topic() {
        let some = topics(&["shop-*", "web"]);
        for (topic, seen) in [("shop-1", true), ("web", true), ("web2", false), ("shop", false), ("", false)] {
            assert_eq!(some.allow(topic), seen, "{topic}");
        }
    }

    #[test]
    fn nobody_gives_away_more_topics_than_they_have() {
        let owner = topics(&["shop-*", "web"]);
        for (wanted, good) in
            [("shop-*", true), ("shop-1", true), ("web", true), ("*", false), ("shop-?", false), ("w*", false)]
        {
            assert_eq!(topics(&[wanted]).within(&owner).is_ok(), good, "{wanted}");
            assert!(topics(&[wanted]).within(&Topics::default()).is_ok());
        }
    }

    #[test]
    fn what_is_no_pattern_of_topics_is_refused() {
        for wrong in [&[][..], &[""], &["a b"], &["<b>"], &["*a*b*c*d*e*f*g*h*i*j*k*l*m*"]] {
            let patterns: Vec<String> = wrong.iter().map(|p| (*p).to_owned()).collect();
            assert!(Topics::try_from(patterns).is_err(), "{wrong:?}");
        }
    }
}
