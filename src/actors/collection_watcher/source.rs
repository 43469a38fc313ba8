//! Where the entries are, and what else of etcd belongs to them.

use crate::{collection::KeyTemplate, etcd::Session};
use std::{path::PathBuf, time::Duration};

/// Where the entries live.
#[derive(Clone, Debug)]
pub enum Source {
    /// The keys of this machine, filled in from the templates.
    Keys { session: Session, templates: Vec<KeyTemplate>, host: String, groups: Vec<String>, relist: Duration },
    /// The keys of all machines, by the templates' prefixes, and the entry texts.
    AllKeys { session: Session, templates: Vec<KeyTemplate>, relist: Duration },
    /// A file in place of the templates' keys; the session is for what is kept in etcd beside the entries, where there is
    /// one.
    File { file: PathBuf, session: Option<Session>, templates: Vec<KeyTemplate>, relist: Duration },
    /// Nothing to watch: the topics are all in the settings. The session is for the entry texts, where there is an etcd.
    Nothing { session: Option<Session> },
}

impl Source {
    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Self::Keys { session, .. } | Self::AllKeys { session, .. } => Some(session),
            Self::File { session, .. } | Self::Nothing { session } => session.as_ref(),
        }
    }

    pub(super) fn templates(&self) -> &[KeyTemplate] {
        match self {
            Self::Keys { templates, .. } | Self::AllKeys { templates, .. } | Self::File { templates, .. } => templates,
            Self::Nothing { .. } => &[],
        }
    }
}
