//! A real Elasticsearch, with the analysis of our index template, sees the words that logweir sees.

use crate::stores;
use logweir::{document::words, elastic::TemplateSettings};
use serde_json::json;

/// What logs bring, and what tokenizers stumble over.
const TEXTS: &[&str] = &[
    "GET /api/v1/items?id=5&x=%20 HTTP/1.1\" 503 0.005",
    "com.acme.Read_Timeout: can't, won’t; l‘été 'it’s'",
    "10.0.0.1:80 fe80::1 00:1A:2b 12:30:45,678 1.234,5 -1e5 0x1F",
    "a_b a\u{203f}b a·b a：b a‧b",
    "连接失败：主机超时 東京タワー ひらがな 한국어 カタカナ ﾊﾝｶｸ x失y",
    "Größe ΟΔΟΣ İstanbul ẞ ǅ ﬁ ſ café\u{301} e\u{301}\u{302}x",
    "ภาษาไทย ๑๒ ภาษา12 ລາວ မြန်မာ ខ្មែរ",
    "done✅in 5½s ①② 👍🏽x 👨‍👩‍👧 🇩🇪 ❤️ ™ © x™y",
    "שלום צה״ל مرحبا بالعالم ١٢٣ नमस्ते",
    "a\u{200d}b a\u{200c}b a\u{ad}b a\u{feff}b a\u{a0}b a\u{0}b a\u{1b}[31mb",
    "\u{fffd}x\u{fffd} \u{301}x \u{10ffff}",
    "--- ... *** ~~~ ___ ()[]{}<>|\\/^`#@!$%&*+=",
    "",
];

/// Blocks of letters in use, of signs and of emoji.
const BLOCKS: &[(u32, u32)] = &[
    (0x0, 0x5ff),
    (0x620, 0x64a),
    (0x660, 0x669),
    (0x904, 0x939),
    (0xe01, 0xe5b),
    (0x10d0, 0x10f0),
    (0x1e00, 0x1fbc),
    (0x2000, 0x2bff),
    (0x3000, 0x3005),
    (0x3007, 0x30ff),
    (0x4e00, 0x4eff),
    (0x9f00, 0x9fa5),
    (0xac00, 0xacff),
    (0xff00, 0xff9d),
    (0x1f300, 0x1f64f),
    (0x1f900, 0x1f9ff),
    (0x20000, 0x200ff),
];

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    for length in [254, 255, 256, 511, 600] {
        texts.extend(["x", "é", "𝒳"].map(|c| c.repeat(length)));
    }
    // Accents and their kin stand on something; digits and letters join them.
    for c in BLOCKS.iter().flat_map(|(first, last)| *first..=*last).filter_map(char::from_u32) {
        texts.extend([format!("a{c}b"), format!("1{c}2"), format!("{c}{c}"), format!("연{c}ひ")]);
    }
    texts
}

#[test]
fn elasticsearch_sees_the_same_words() {
    let server = stores::elasticsearch();
    let template =
        logweir::elastic::index_template("words", &TemplateSettings { replicas: 0, ..TemplateSettings::default() }, 0);
    let mut index = template["template"].clone();
    index["settings"]["index"]["analyze"] = json!({"max_token_count": 1_000_000});
    server.request("PUT", "/words", Some(&index));
    let mut different = Vec::new();
    for part in texts().chunks(1000) {
        let answer = server.request("POST", "/words/_analyze", Some(&json!({"field": "message", "text": part})));
        let mut tokens = answer["tokens"].as_array().unwrap().iter().peekable();
        // Texts follow each other with a gap of one in the count of UTF-16 units.
        let mut end = 0;
        for text in part {
            end += text.encode_utf16().count() as u64 + 1;
            let mut theirs = Vec::new();
            while let Some(token) = tokens.next_if(|token| token["start_offset"].as_u64() < Some(end)) {
                theirs.push(token["token"].as_str().unwrap().to_owned());
            }
            if theirs != words(text) {
                different.push(format!("{text:?}: Elasticsearch {theirs:?}, logweir {:?}", words(text)));
            }
        }
    }
    let shown = different.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
    assert!(different.is_empty(), "{} texts:\n{shown}", different.len());
}
