//! All calls of the API. A new one is a line here; see [`super::route`] for what comes of it, and schemas.json for what
//! bodies and answers are made of.

use super::{
    api, collected, connection,
    entries::{api as entries, api_changes as changes},
    export,
    fleet::{agents::By, api as fleet},
    gate, live, openapi, paths,
    route::{
        Answer::{Created, Json, Nothing, Stream},
        Kind::{Boolean, Choice, Pattern, Text, Whole},
        Least::{Admin, Editor, Open, Viewer},
        Parameter, Route,
        Verb::{Delete, Get, Post, Put},
        route,
    },
    searches,
};
use crate::search::model::MAX_PAGE;
use actix_web::web;

/// Every call there is.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [SEARCH, COLLECTION, FLEET, GATE, OTHER].into_iter().flatten()
}

const Q: Parameter = Parameter::query("q", Text, "The query; empty: every line.");
const FROM: Parameter =
    Parameter::query("from", Text, "First moment: RFC 3339, milliseconds since 1970, or relative like -15m.");
const TO: Parameter = Parameter::query("to", Text, "First moment that no longer belongs to it.");
const ORDER: Parameter =
    Parameter::query("order", Choice(&["newest_first", "oldest_first"]), "Newest first by default.");
const CUT: Parameter = Parameter::query("cut", Whole(0, i64::MAX), "Longer texts are cut to so many characters.");

static SEARCH: &[Route] = &[
    route(Get, "/search", Viewer, "Lines that match, a page of them", || web::to(api::search))
        .takes(&[
            Q,
            FROM,
            TO,
            ORDER,
            Parameter::query("size", Whole(0, MAX_PAGE as i64), "Lines of the page, 100 by default."),
            Parameter::query("after", Text, "Go on behind the line with this cursor."),
            Parameter::query("count", Boolean, "Whether the number of all that match is wanted."),
            CUT,
        ])
        .answers(Json("Page"))
        .refuses(&[422]),
    route(Get, "/histogram", Viewer, "How many match, over time", || web::to(api::histogram))
        .takes(&[
            Q,
            FROM,
            TO,
            Parameter::query("interval_ms", Whole(1, i64::MAX), "Width of a bar; chosen to fit the span by default."),
        ])
        .answers(Json("Histogram"))
        .refuses(&[422]),
    route(Get, "/values", Viewer, "The most frequent values of a field", || web::to(api::values))
        .takes(&[
            Q,
            FROM,
            TO,
            Parameter::query("field", Text, "Its full name, like host.name.").needed(),
            Parameter::query("size", Whole(0, 1_000), "So many values, 10 by default."),
        ])
        .answers(Json("Values"))
        .refuses(&[422]),
    route(Get, "/fields", Viewer, "The fields that lines of a span have", || web::to(api::fields))
        .takes(&[FROM, TO])
        .answers(Json("Fields"))
        .refuses(&[422]),
    route(Get, "/around", Viewer, "The lines around a line in its file", || web::to(api::around))
        .takes(&[
            Parameter::query("file", Pattern("^[0-9a-fA-F]{16}$"), "The file's id.").needed(),
            Parameter::query("offset", Whole(0, i64::MAX), "The line's position in it.").needed(),
            Parameter::query("before", Whole(0, 1_000), "Lines before it, 20 by default."),
            Parameter::query("after", Whole(0, 1_000), "Lines after it, 20 by default."),
            CUT,
            Q,
        ])
        .answers(Json("Around"))
        .refuses(&[404, 422]),
    route(Get, "/export", Viewer, "All that match, as a file", || web::to(export::export))
        .takes(&[
            Q,
            FROM,
            TO,
            ORDER,
            Parameter::query("format", Choice(&["ndjson", "csv"]), "A JSON object a line by default."),
            Parameter::query("columns", Text, "Of a CSV: names of fields, with commas between."),
        ])
        .answers(Stream(&["application/x-ndjson", "text/csv"]))
        .refuses(&[422]),
    route(Get, "/live", Viewer, "New lines that match, as server-sent events", || web::to(live::live))
        .takes(&[Q])
        .answers(Stream(&["text/event-stream"]))
        .refuses(&[429]),
    route(Get, "/searches", Viewer, "The saved searches", || web::to(searches::list)).answers(Json("Searches")),
    route(Put, "/searches/{name:.+}", Viewer, "Save a search under a name", || web::to(searches::put))
        .takes(&[Parameter::path("name", "1 to 100 characters."), SEEN])
        .with_body("Search", searches::MAX_BODY)
        .answers(Nothing)
        .refuses(&[409, 413]),
    route(Delete, "/searches/{name:.+}", Viewer, "Remove a saved search", || web::to(searches::remove))
        .takes(&[Parameter::path("name", "Its name."), SEEN])
        .answers(Nothing)
        .refuses(&[404, 409]),
];

const WORDS: Parameter = Parameter::query("q", Text, "Words that stand in path, topic, key, or labels.");
const ONLY_KEY: Parameter = Parameter::query("key", Text, "Only of this key.");
const WRONG: Parameter = Parameter::query("wrong", Boolean, "Only keys that agents refuse.");
const LEFT_OUT: Parameter = Parameter::query("from", Whole(0, i64::MAX), "So many are left out.");
const ROWS: Parameter =
    Parameter::query("size", Whole(0, entries::MAX_SIZE as i64), "Rows of the page, 100 by default.");
const KEY: Parameter = Parameter::query("key", Text, "The key.").needed();
const SEEN: Parameter = Parameter::header("If-Match", "The revision that was seen; 0 for a key that wasn't there.");

static COLLECTION: &[Route] = &[
    route(Get, "/collected", Viewer, "What has come of what is collected", || web::to(collected::show))
        .answers(Json("Collected")),
    route(Get, "/entries", Viewer, "Entries, a page of them", || web::to(entries::entries))
        .takes(&[WORDS, ONLY_KEY, WRONG, LEFT_OUT, ROWS])
        .answers(Json("Entries")),
    route(Get, "/entries/keys", Viewer, "Keys of entries, with what agents make of them", || web::to(entries::keys))
        .takes(&[WORDS, ONLY_KEY, WRONG, LEFT_OUT, ROWS])
        .answers(Json("Keys")),
    route(Get, "/entries/key", Viewer, "One key's text, and each agent's answer to it", || web::to(entries::key))
        .takes(&[KEY])
        .answers(Json("Key"))
        .refuses(&[404]),
    route(Put, "/entries/key", Editor, "Write one key's entries", || web::to(changes::put))
        .takes(&[KEY, SEEN])
        .with_body("EntryArray", changes::MAX_BODY)
        .answers(Json("Changed"))
        .refuses(&[409, 413]),
    route(Delete, "/entries/key", Editor, "Delete one key and so all its entries", || web::to(changes::delete))
        .takes(&[KEY, SEEN])
        .answers(Json("Changed"))
        .refuses(&[409, 413]),
    route(Post, "/entries/check", Editor, "What is wrong with a text, or what it would change", || {
        web::to(changes::check)
    })
    .with_body("Check", changes::MAX_CHECK)
    .answers(Json("Checked"))
    .refuses(&[413]),
    route(Post, "/entries/restore", Editor, "Write a text of the history again", || web::to(changes::restore))
        .with_body("Restore", 64 << 10)
        .answers(Json("Changed"))
        .refuses(&[404, 409, 413]),
    route(Post, "/entries/import", Editor, "Look at a file of many keys, or write what was looked at", || {
        web::to(changes::import)
    })
    .with_body("Import", changes::MAX_IMPORT)
    .answers(Json("Imported"))
    .refuses(&[413]),
    route(Get, "/entries/export", Viewer, "All keys as one file", || web::to(entries::export))
        .answers(Json("EntriesByKey")),
    route(Get, "/entries/history", Viewer, "Who changed a key, newest first", || web::to(entries::history))
        .takes(&[
            KEY,
            Parameter::query("before", Whole(0, i64::MAX), "Those before this record."),
            Parameter::query("size", Whole(1, entries::MAX_RECORDS as i64), "Records of the page, 20 by default."),
        ])
        .answers(Json("History")),
    route(Get, "/entries/record", Viewer, "One record of a key's history", || web::to(entries::record))
        .takes(&[KEY, Parameter::query("at", Whole(0, i64::MAX), "Which one.").needed()])
        .answers(Json("EntryRecord"))
        .refuses(&[404]),
    route(Get, "/entries/effective", Viewer, "What one host collects, and by which key", || {
        web::to(entries::effective)
    })
    .takes(&[Parameter::query("host", Text, "Its name, as its agent tells it.").needed()])
    .answers(Json("Effective")),
    route(Get, "/paths", Editor, "The entries that a path on this machine means", || web::to(paths::meaning))
        .takes(&[Parameter::query("path", Text, "A file, a folder or a pattern.").needed()])
        .answers(Json("Meaning"))
        .refuses(&[404]),
];

const KIND: Parameter = Parameter::path("kind", "agent, transfer, console or standalone.");
const HOST: Parameter = Parameter::path("host", "Its host.");
const INSTANCE: Parameter = Parameter::path("instance", "Tells several on one host apart.");

static FLEET: &[Route] = &[
    route(Get, "/agents", Viewer, "The processes, and how they are", || web::to(fleet::agents))
        .takes(&[
            Parameter::query("q", Text, "Part of a name, a version, a key, a topic or a reason."),
            Parameter::query("kind", Text, "agent, transfer, console or standalone; all by default."),
            Parameter::query("state", Choice(&["alive", "stopped", "gone"]), "All by default."),
            Parameter::query("troubled", Boolean, "Only those that need somebody."),
            Parameter::query("sort", Choice(&By::NAMES), "The worst first by default."),
            Parameter::query("reverse", Boolean, "The other way round."),
            Parameter::query("from", Whole(0, i64::MAX), "So many are left out."),
            Parameter::query("size", Whole(0, fleet::MAX_SIZE as i64), "Processes of the page, 100 by default."),
        ])
        .answers(Json("Agents")),
    route(Get, "/agents/{kind}/{host}/{instance}", Viewer, "Everything one process tells", || web::to(fleet::agent))
        .takes(&[KIND, HOST, INSTANCE])
        .answers(Json("Agent"))
        .refuses(&[404]),
    route(Delete, "/agents/{kind}/{host}/{instance}", Editor, "Show a process no longer that went", || {
        web::to(fleet::forget)
    })
    .takes(&[KIND, HOST, INSTANCE])
    .answers(Nothing)
    .refuses(&[404, 409]),
    route(Get, "/agents/{kind}/{host}/{instance}/files", Viewer, "The files it reads, and how far", || {
        web::to(fleet::files)
    })
    .takes(&[KIND, HOST, INSTANCE])
    .answers(Json("AgentFiles"))
    .refuses(&[404, 409]),
    route(Get, "/pipeline", Viewer, "How lines flow, topic by topic", || web::to(fleet::pipeline))
        .answers(Json("Pipeline")),
    route(Get, "/banner", Viewer, "What needs a person", || web::to(fleet::banner)).answers(Json("Banner")),
];

static GATE: &[Route] = &[
    route(Post, "/login", Open, "Begin a session", || web::to(gate::log_in))
        .with_body("Login", gate::MAX_BODY)
        .answers(Json("Me"))
        .refuses(&[401, 409, 413, 429]),
    route(Post, "/setup", Open, "Make the first admin by the one-time code", || web::to(gate::set_up))
        .with_body("Setup", gate::MAX_BODY)
        .answers(Json("Me"))
        .refuses(&[401, 409, 413, 429]),
    route(Post, "/logout", Viewer, "End the session", || web::to(gate::log_out)).answers(Nothing),
    route(Get, "/me", Viewer, "Who makes this call", || web::to(gate::me)).answers(Json("Me")),
    route(Put, "/me/password", Viewer, "Another password; ends all other sessions and all tokens of this user", || {
        web::to(gate::new_password)
    })
    .with_body("NewPassword", gate::MAX_BODY)
    .answers(Json("Me"))
    .refuses(&[409, 413, 429]),
    route(Get, "/users", Admin, "All users", || web::to(gate::list_users)).answers(Json("Users")),
    route(Post, "/users", Admin, "Add a user", || web::to(gate::add_user))
        .with_body("NewUser", gate::MAX_BODY)
        .answers(Created("User"))
        .refuses(&[409, 413, 429]),
    route(Put, "/users/{name}", Admin, "Change a user", || web::to(gate::change_user))
        .takes(&[Parameter::path("name", "The user's name.")])
        .with_body("ChangedUser", gate::MAX_BODY)
        .answers(Json("User"))
        .refuses(&[404, 409, 413, 429]),
    route(Get, "/tokens", Viewer, "Your own tokens, or for admins all", || web::to(gate::list_tokens))
        .answers(Json("Tokens")),
    route(Post, "/tokens", Viewer, "Make a token; its text is shown this once", || web::to(gate::add_token))
        .with_body("NewToken", gate::MAX_BODY)
        .answers(Created("MadeToken"))
        .refuses(&[409, 413]),
    route(Delete, "/tokens/{id}", Viewer, "End a token", || web::to(gate::remove_token))
        .takes(&[Parameter::path("id", "The token's id.")])
        .answers(Nothing)
        .refuses(&[404, 409]),
    route(Get, "/connection", Admin, "How Elasticsearch is reached, without what is secret", || {
        web::to(connection::show)
    })
    .answers(Json("Connection"))
    .refuses(&[404]),
    route(Put, "/connection", Admin, "Say how Elasticsearch is reached", || web::to(connection::replace))
        .takes(&[Parameter::header("If-Match", "The revision that was seen.")])
        .with_body("NewConnection", connection::MAX_BODY)
        .answers(Nothing)
        .refuses(&[404, 409, 413]),
    route(Get, "/audit", Admin, "Who did what, newest first", || web::to(gate::read_audit))
        .takes(&[
            Parameter::query("author", Text, "Only of this author."),
            Parameter::query("action", Text, "Only actions that begin so, like login."),
            Parameter::query("text", Text, "Only records with this in their subject, detail or address."),
            Parameter::query("before", Text, "Go on before this record, as the last answer told."),
            Parameter::query("size", Whole(1, 1_000), "So many, 100 by default."),
        ])
        .answers(Json("Audit")),
];

static OTHER: &[Route] =
    &[route(Get, "/openapi.json", Open, "This description", || web::to(openapi::show)).answers(Json("Description"))];
