use super::{super::glob::Glob, *};
use proptest::prelude::*;

fn field(name: &str, test: Test) -> Query {
    Query::Field { name: name.to_owned(), test }
}

fn is(name: &str, value: &str) -> Query {
    field(name, Test::Is(value.to_owned()))
}

fn like(name: &str, pattern: &str) -> Query {
    field(name, Test::Wildcard(Glob::from(pattern)))
}

fn not(query: Query) -> Query {
    Query::Not(Box::new(query))
}

fn range(name: &str, from: End, to: End) -> Query {
    field(name, Test::Range { from, to })
}

fn word(value: &str) -> Query {
    is("message", value)
}

#[test]
fn every_notation_has_its_meaning() {
    use End::{Excluding, Including, Open};
    let text = str::to_owned;
    for (written, meant) in [
        ("", Query::All),
        (" * ", Query::All),
        ("timeout", word("timeout")),
        ("\"read \\\"timed\\\" out\"", word("read \"timed\" out")),
        ("\"a*\"", word("a*")),
        ("conn*", like("message", "conn*")),
        ("a\\*b", word("a*b")),
        ("status:503", is("status", "503")),
        ("status:-5", is("status", "-5")),
        ("host.name:web-*", like("host.name", "web-*")),
        ("labels.team:\"web front\"", is("labels.team", "web front")),
        ("labels.my\\ team:x", is("labels.my team", "x")),
        ("path:/var/log", is("path", "/var/log")),
        ("field:*", field("field", Test::Exists)),
        ("field:[* TO *]", field("field", Test::Exists)),
        ("status:>=500", range("status", Including(text("500")), Open)),
        ("status:>500", range("status", Excluding(text("500")), Open)),
        ("status:<=\"a b\"", range("status", Open, Including(text("a b")))),
        ("log.offset:[10 TO 20]", range("log.offset", Including(text("10")), Including(text("20")))),
        ("a:{ 1 TO \"2\" ]", range("a", Excluding(text("1")), Including(text("2")))),
        ("status:{400 TO *}", range("status", Excluding(text("400")), Open)),
        ("a b", Query::And(vec![word("a"), word("b")])),
        ("a AND b", Query::And(vec![word("a"), word("b")])),
        ("a b OR c", Query::Or(vec![Query::And(vec![word("a"), word("b")]), word("c")])),
        ("(a OR b) c", Query::And(vec![Query::Or(vec![word("a"), word("b")]), word("c")])),
        ("NOT a", not(word("a"))),
        ("-a -b", Query::And(vec![not(word("a")), not(word("b"))])),
        ("NOT NOT a", not(not(word("a")))),
        ("-(a b)", not(Query::And(vec![word("a"), word("b")]))),
        ("status:(500 OR -503)", Query::Or(vec![is("status", "500"), not(is("status", "503"))])),
        ("\"AND\" or", Query::And(vec![word("AND"), word("or")])),
    ] {
        assert_eq!(parse(written).unwrap(), meant, "{written}");
    }
}

#[test]
fn pasted_lines_are_understood() {
    for pasted in ["http://example.com/a?b=c", "12:30:45", "std::io::Error", "--verbose", "[error]", "<a>", "fe80::1"] {
        let Ok(Query::Field { name, .. }) = parse(pasted) else { panic!("{pasted}") };
        assert_eq!(name, "message", "{pasted}");
    }
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_was_expected() {
    for (written, position, expected) in [
        ("a \"b", 4, "\" for the \" at character 3"),
        ("é (a OR b", 9, ") for the ( at character 3"),
        ("a) b", 1, "the end"),
        ("()", 1, TERM),
        ("a OR", 4, TERM),
        ("AND a", 0, TERM),
        ("a AND OR b", 6, TERM),
        ("NOT", 3, TERM),
        ("a - b", 3, "left out"),
        ("status:", 7, "a value"),
        ("status: 5", 7, "directly"),
        ("status:[1 2]", 10, "TO"),
        ("status:[1 TO 2", 14, "] or }"),
        ("status:[ TO 2]", 12, "TO"),
        ("status:[1* TO 2]", 8, "without wildcards"),
        ("status:>", 8, "a value"),
        ("status:>*", 9, "not *"),
        ("a*:b", 0, "name of a field"),
        ("a ---", 2, "letters or digits"),
        (".*", 0, "letters or digits"),
        ("message:>5", 8, "no ranges"),
        ("@timestamp:abc", 11, "a time"),
        ("@timestamp:>now-1h", 11, "a time"),
        ("@timestamp:2026*", 11, "a time"),
        ("a\\", 2, "behind the \\"),
        ("x ?*?*?*?*?*?*?y", 2, "12 wildcards"),
    ] {
        let error = parse(written).unwrap_err();
        assert_eq!(error.position, position, "{written}: {error}");
        assert!(error.expected.contains(expected), "{written}: {error}");
    }
    assert_eq!(parse("x )").unwrap_err().to_string(), "character 3: expected the end, or ( further ahead, found ')'");
}

#[test]
fn huge_queries_are_refused_in_a_sentence() {
    let refused = |text: String| parse(&text).unwrap_err().expected;
    assert_eq!(refused("é ".repeat(50_000)), "a query of at most 32768 bytes");
    for deep in ["(", "-(", "NOT ", "a:(", "NOT (a OR "] {
        assert_eq!(refused(deep.repeat(3000)), "at most 100 levels of parentheses and NOT");
    }
    assert_eq!(refused("a ".repeat(501)), "at most 500 words and values");
    assert!(parse(&"a ".repeat(500)).is_ok());
    assert!(parse(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_ok());
}

fn tests() -> impl Strategy<Value = Test> {
    let value = prop_oneof!["[a-z0-9._/-]{1,6}", "\\PC{0,6}", "AND|OR|NOT|TO"];
    let end =
        prop_oneof![Just(End::Open), value.clone().prop_map(End::Including), value.clone().prop_map(End::Excluding)];
    prop_oneof![
        Just(Test::Exists),
        value.clone().prop_map(Test::Is),
        "(\\PC|[*?]){1,6}".prop_map(|pattern| Test::Wildcard(Glob::from(pattern.as_str()))),
        (end.clone(), end).prop_map(|(from, to)| Test::Range { from, to }),
    ]
}

/// Only tests that text can express: others have a simpler form.
fn is_normal(test: &Test) -> bool {
    match test {
        Test::Wildcard(glob) => glob.wildcards() > 0 && !glob.is_any(),
        Test::Range { from, to } => (from, to) != (&End::Open, &End::Open),
        _ => true,
    }
}

fn queries() -> impl Strategy<Value = Query> {
    let name = prop_oneof![Just("message".to_owned()), Just("@timestamp".to_owned()), "[a-z.]{1,4}", "\\PC{1,4}"];
    let leaf = (name, tests())
        .prop_filter("normal", |(name, test)| is_normal(test) && mistake(name, test).is_none())
        .prop_map(|(name, test)| Query::Field { name, test });
    prop_oneof![9 => leaf, 1 => Just(Query::All)].prop_recursive(5, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::Or),
            inner.prop_map(not),
        ]
    })
}

proptest! {
    #[test]
    fn a_query_is_read_back_from_its_text(query in queries()) {
        let text = query.to_string();
        prop_assert_eq!(parse(&text), Ok(query), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "(\\PC|[-\"()\\[\\]{}:*?\\\\<>= ]|AND|OR|NOT|TO){0,40}") {
        match parse(&text) {
            Ok(query) => prop_assert_eq!(parse(&query.to_string()), Ok(query)),
            Err(error) => prop_assert!(error.position <= text.chars().count()),
        }
    }
}
