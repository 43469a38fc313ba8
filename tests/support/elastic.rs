//! Reading everything that is in Elasticsearch, by `curl`.

use super::servers::Server;
use serde_json::{Value, json};
use std::process::Command;

impl Server {
    /// A request to Elasticsearch as its superuser; panics when it doesn't answer 2xx.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.ask(method, path, body).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// How many documents can be found; `None` while an index is so new that none of its shards answers.
    pub fn count(&self, pattern: &str) -> Option<u64> {
        self.ask("POST", &format!("/{pattern}/_refresh"), None).ok()?;
        self.ask("GET", &format!("/{pattern}/_count"), None).ok()?["count"].as_u64()
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-m", "60", "-X", method]);
        curl.args(["-u", &format!("{}:{}", self.fact("user"), self.fact("password"))]);
        if let Some(ca) = self.ca() {
            curl.arg("--cacert").arg(ca);
        }
        if let Some(body) = body {
            curl.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
        }
        let output = curl.arg(format!("{}{path}", self.fact("url"))).output().expect("run curl");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{method} {path}: {said}{text} (log: {})", self.fact("log")));
        }
        serde_json::from_str(&text).map_err(|e| format!("{method} {path} answered no JSON ({e}): {text}"))
    }

    /// Hands over every document's source in the order of `logweir.file`, `log.offset`, as Elasticsearch itself sorts them.
    pub fn documents(&self, pattern: &str, mut each: impl FnMut(&Value)) {
        self.request("POST", &format!("/{pattern}/_refresh"), None);
        let query = json!({"size": 10_000, "sort": ["logweir.file", "log.offset"], "query": {"match_all": {}}});
        let mut page = self.request("POST", &format!("/{pattern}/_search?scroll=2m"), Some(&query));
        loop {
            let scroll = page["_scroll_id"].clone();
            let Value::Array(hits) = page["hits"]["hits"].take() else { panic!("a page without hits: {page}") };
            if hits.is_empty() {
                self.request("DELETE", "/_search/scroll", Some(&json!({"scroll_id": scroll})));
                return;
            }
            for hit in &hits {
                each(&hit["_source"]);
            }
            page = self.request("POST", "/_search/scroll", Some(&json!({"scroll": "2m", "scroll_id": scroll})));
        }
    }

    /// An API key for the whole cluster, as the header takes it.
    pub fn api_key(&self) -> String {
        let answer = self.request("POST", "/_security/api_key", Some(&json!({"name": "logweir"})));
        answer["encoded"].as_str().expect("an API key").to_owned()
    }
}
