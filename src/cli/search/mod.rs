//! `logweir search QUERY`: finds lines from the command line, and follows new ones. It asks a running
//! `logweir standalone`, or, with the transfer's settings, Elasticsearch; what is printed is the same.

mod api;
mod elastic;
mod print;

use super::{Exit, Failure, Outcome};
use crate::search::{
    model::{Hit, Page, SearchError},
    parse::{QueryError, parse},
    query::Query,
    span,
};
use futures_util::future::LocalBoxFuture;
use print::Printer;
use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    path::PathBuf,
};

/// Lines of one question, at most.
const MAX_LINES: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir search 'timeout -health' --since 1h
  logweir search 'status:>=500 host.name:web-*' --from 2026-11-21 --to 2026-11-22
  logweir search '\"connection refused\"' --follow
  logweir search 'error' -n 1000 --json | jq -r .message
  logweir search 'error' -c conf/transfer.toml    ask Elasticsearch as the transfer does

A query is words, \"phrases\", wild*cards, field:value, field:>=5, field:[1 TO 5], AND, OR, NOT, ( ). Without -c the \
standalone at --url is asked. The newest lines are printed, the newest last.")]
pub struct Args {
    /// What to look for; without it every line
    #[arg(default_value = "", hide_default_value = true)]
    query: String,
    /// Only lines of this last time: 30s, 15m, 1h, 7d
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"], value_parser = length)]
    since: Option<i64>,
    /// From this time on: 2026-11-21T08:00:00Z, 2026-11-21, now-2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "follow")]
    to: Option<String>,
    /// Go on with new lines as they come
    #[arg(short, long)]
    follow: bool,
    /// Print each line's document as JSON
    #[arg(long)]
    json: bool,
    /// At most so many lines, the newest
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 100)]
    lines: usize,
    /// Address of the standalone
    #[arg(long, default_value = "http://127.0.0.1:8686")]
    url: String,
    /// Settings file of the transfer: ask its Elasticsearch
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Indices to search, with -c; without it those of the settings
    #[arg(long, value_name = "PATTERN", requires = "config")]
    index: Vec<String>,
}

fn length(text: &str) -> Result<i64, String> {
    span::length(text).ok_or_else(|| "expected a length of time: 30s, 15m, 1h, 7d, 2w".to_owned())
}

/// Lines of several files don't arrive in the order of their times: those so far back may be told twice.
const BACK_MS: i64 = 30_000;

/// What is asked.
struct Asked {
    text: String,
    query: Query,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    lines: usize,
}

type Told<'a, T> = LocalBoxFuture<'a, Result<T, Failure>>;

/// Who is asked.
trait Source {
    /// The newest lines, newest first.
    fn newest<'a>(&'a self, asked: &'a Asked) -> Told<'a, Vec<Hit>>;
    /// Makes ready to tell of lines that come from now on; what may be told again although it was there before.
    fn begin<'a>(&'a mut self, asked: &'a Asked) -> Told<'a, Vec<Hit>>;
    /// Lines that have come since; waits for some. They may be told twice.
    fn more<'a>(&'a mut self, asked: &'a Asked) -> Told<'a, New>;
}

/// What came.
#[derive(Debug, Default)]
struct New {
    hits: Vec<Hit>,
    /// Lines that went by too fast to be told.
    skipped: u64,
}

pub fn run(args: &Args) -> Outcome {
    if !(1..=MAX_LINES).contains(&args.lines) {
        return Err(Failure::new(Exit::Usage, format!("-n {}: 1 to {MAX_LINES}", args.lines)));
    }
    let asked = asked(args, crate::telemetry::now_ms() as i64)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Software, format!("no runtime: {error}")))?;
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut printer = Printer::new(&asked.query, colours, args.json);
    runtime.block_on(async {
        match &args.config {
            Some(file) => {
                search(elastic::Source::new(file, &args.index).await?, &asked, args.follow, &mut printer).await
            }
            None => search(api::Source::new(&args.url)?, &asked, args.follow, &mut printer).await,
        }
    })
}

fn asked(args: &Args, now_ms: i64) -> Result<Asked, Failure> {
    let query = parse(&args.query).map_err(|error| Failure::new(Exit::Usage, pointed(&args.query, &error)))?;
    let span = span::span(args.from.as_deref(), args.to.as_deref(), now_ms);
    let (from_ms, to_ms) = span.map_err(|error| Failure::new(Exit::Usage, error))?;
    let from_ms = args.since.map(|since| now_ms.saturating_sub(since)).or(from_ms);
    Ok(Asked { text: args.query.clone(), query, from_ms, to_ms, lines: args.lines })
}

/// Characters of a query that are shown on both sides of a mistake.
const SHOWN: usize = 60;

/// The mistake, with a caret under its character.
fn pointed(query: &str, error: &QueryError) -> String {
    let begin = error.position.saturating_sub(SHOWN);
    let shown: String = query.chars().skip(begin).take(2 * SHOWN).map(print::harmless).collect();
    format!("{error}\n  {shown}\n  {}^", " ".repeat(error.position - begin))
}

/// A line's identity: file and offset; of a record of another producer its cursor, which names its place.
type Id = (Option<String>, Option<u64>, String);

/// What was printed already: who is asked may tell a line twice.
struct Seen {
    lines: HashMap<Id, i64>,
    /// Beyond so many the oldest are forgotten.
    limit: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { lines: HashMap::new(), limit: MAX_LINES }
    }
}

impl Seen {
    /// Those that weren't seen before.
    fn fresh(&mut self, hits: Vec<Hit>) -> Vec<Hit> {
        let id = |hit: &Hit| {
            let place = if hit.file.is_some() { String::new() } else { hit.cursor.clone() };
            (hit.file.clone(), hit.offset, place)
        };
        let fresh = hits.into_iter().filter(|hit| self.lines.insert(id(hit), hit.time_ms).is_none()).collect();
        if self.lines.len() > self.limit {
            // Older ones aren't told again.
            let newest = self.lines.values().max().copied().unwrap_or_default();
            self.lines.retain(|_, ms| *ms >= newest.saturating_sub(2 * BACK_MS));
            self.limit = MAX_LINES.max(2 * self.lines.len());
        }
        fresh
    }
}

async fn search(mut source: impl Source, asked: &Asked, follow: bool, printer: &mut Printer) -> Outcome {
    let mut seen = Seen::default();
    if follow {
        seen.fresh(source.begin(asked).await?);
    }
    let mut hits = source.newest(asked).await?;
    hits.reverse();
    printer.hits(&hits)?;
    seen.fresh(hits);
    while follow && !printer.is_closed() {
        let new = source.more(asked).await?;
        printer.skipped(new.skipped);
        printer.hits(&seen.fresh(new.hits))?;
    }
    Ok(Exit::Ok)
}

/// So many lines, page after page: one may be shorter than was asked for and not the last. `page` gets how many are wanted
/// yet, and behind which line. Says that there may be more than what was found.
async fn lines<F: Future<Output = Result<Page, Failure>>>(
    wanted: usize,
    mut page: impl FnMut(usize, Option<String>) -> F,
) -> Result<Vec<Hit>, Failure> {
    let (mut hits, mut after, mut incomplete) = (Vec::new(), None, None);
    loop {
        let found = page(wanted - hits.len(), after).await?;
        incomplete = incomplete.or(found.incomplete);
        hits.extend(found.hits);
        after = found.after;
        if after.is_none() || hits.len() >= wanted {
            break;
        }
    }
    if let Some(reason) = incomplete {
        eprintln!("logweir: not all data answered: {reason}");
    }
    Ok(hits)
}

/// What a failed search means for the exit code.
fn failure(error: &SearchError) -> Failure {
    let exit = match error {
        SearchError::Refused(_) => Exit::Usage,
        SearchError::Unavailable(_) => Exit::Unavailable,
        SearchError::TooExpensive(_) => Exit::Temporary,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_told_twice_is_printed_once_and_not_remembered_for_ever() {
        let hit = |ms: i64| {
            let (file, fields) = (Some("f".to_owned()), serde_json::Map::new());
            Hit { time_ms: ms, file, offset: Some(ms as u64), fields, cursor: String::new() }
        };
        let mut seen = Seen::default();
        for begin in (0..1_000_000).step_by(5_000) {
            // Each time what was told before is told again.
            let told: Vec<Hit> = ((begin - 5_000).max(0)..begin + 5_000).map(hit).collect();
            let fresh = seen.fresh(told);
            assert_eq!((fresh.len(), fresh[0].time_ms), (5_000, begin));
        }
        assert!(seen.lines.len() < 200_000, "{}", seen.lines.len());
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        let error = parse("é (a OR b").unwrap_err();
        assert_eq!(
            pointed("é (a OR b", &error),
            "character 10: expected ) for the ( at character 3, found the end\n  é (a OR b\n           ^"
        );
        let long = format!("{} )", "word ".repeat(100));
        let text = pointed(&long, &parse(&long).unwrap_err());
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert_eq!((lines[1].chars().nth(caret), caret), (Some(')'), SHOWN + 2));
    }
}
