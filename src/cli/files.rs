//! `logweir files -c FILE`: what is read how far. From the journal, which is right whether or not the agent runs.

use super::{Exit, Failure, Outcome, print, settings};
use crate::{
    journal::{FileRecord, Journal, JournalError},
    messages::FileStatus,
    settings::AgentSettings,
};
use std::{io, os::unix::fs::MetadataExt, path::PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir files -c conf/agent.toml
  logweir files -c conf/agent.toml --behind
  logweir files -c conf/agent.toml --json | jq '.[] | select(.lag_bytes > 1000000)'

READ: bytes read and journalled; SETTLED: bytes delivered to Kafka; SIZE: '-' where the file is gone; LAG: bytes yet to \
be delivered.")]
pub struct Args {
    /// Settings file of the agent
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON, one array of objects
    #[arg(long)]
    json: bool,
    /// Only files that are not delivered to their end
    #[arg(long)]
    behind: bool,
}

/// One file as it is printed.
#[derive(Debug, serde::Serialize)]
struct Row {
    #[serde(flatten)]
    status: FileStatus,
    lag_bytes: u64,
}

impl From<FileRecord> for Row {
    fn from(record: FileRecord) -> Self {
        // The name may be another file's by now.
        let same = |data: &std::fs::Metadata| (data.dev(), data.ino()) == (record.dev, record.ino);
        let size = std::fs::metadata(&record.current_path).ok().filter(same).map(|data| data.len());
        Self {
            lag_bytes: size.unwrap_or(record.position).max(record.position).saturating_sub(record.settled),
            status: FileStatus {
                path: record.current_path.display().to_string(),
                topic: record.topic,
                file: record.file.to_string(),
                read: record.position,
                settled: record.settled,
                size,
            },
        }
    }
}

pub fn run(args: &Args) -> Outcome {
    let settings = settings::load(&args.config, AgentSettings::load)?;
    let folder = &settings.agent.data_dir;
    let journal = Journal::inspect(folder).map_err(|error| Failure::new(exit_of(&error), error))?;
    if journal.path.is_none() {
        return Err(Failure::new(Exit::NoInput, format!("no agent has kept a journal in {} yet", folder.display())));
    }
    let mut rows: Vec<Row> = journal.files.into_iter().map(Row::from).collect();
    rows.retain(|row| !args.behind || row.lag_bytes > 0);
    rows.sort_by(|a, b| (&a.status.path, &a.status.topic).cmp(&(&b.status.path, &b.status.topic)));
    let text = if args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| Failure::new(Exit::Io, error))?;
        text + "\n"
    } else {
        table(&rows)
    };
    print(&text)?;
    Ok(Exit::Ok)
}

/// The exit code of a journal that can't be read.
pub fn exit_of(error: &JournalError) -> Exit {
    match error {
        JournalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoInput,
        JournalError::Io { .. } | JournalError::Full { .. } => Exit::Io,
        JournalError::Locked(_) => Exit::Temporary,
        _ => Exit::Data,
    }
}

fn table(rows: &[Row]) -> String {
    let mut cells = vec![["PATH", "TOPIC", "READ", "SETTLED", "SIZE", "LAG"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let FileStatus { path, topic, read, settled, size, .. } = &row.status;
        let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        [path.clone(), topic.clone(), read.to_string(), settled.to_string(), size, row.lag_bytes.to_string()]
    }));
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &cells {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Names to the left, numbers to the right.
            let cell = if i < 2 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            text.push_str(if i == 1 { "  " } else { "" });
            text.push_str(&cell);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, topic: &str, settled: u64, size: Option<u64>) -> Row {
        let (path, topic, file) = (path.to_owned(), topic.to_owned(), String::new());
        Row { status: FileStatus { path, topic, file, read: 900, settled, size }, lag_bytes: 1000 - settled }
    }

    #[test]
    fn the_table_is_aligned_and_a_gone_file_has_no_size() {
        let text = table(&[row("/var/log/a", "nginx", 5, Some(1000)), row("/b", "x", 1000, None)]);
        assert_eq!(
            text,
            "PATH        TOPIC  READ  SETTLED  SIZE  LAG\n\
             /var/log/a  nginx   900        5  1000  995\n\
             /b          x       900     1000     -    0\n"
        );
    }
}
