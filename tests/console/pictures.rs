//! The pictures of `docs/images`, made anew by `cargo test --test console pictures -- --ignored`.

use crate::{browser::Browser, fake::Fake, page::ROWS};
use serde_json::json;

/// An hour of a small shop: its web server, two services, and ten bad minutes.
fn an_hour(server: &Fake) {
    let now = Fake::now();
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for second in 0..3_600_i64 {
        let time = now - (3_600 - second) * 1_000;
        let bad = (2_350..2_800).contains(&second);
        let minute = second / 60;
        for _ in 0..next(if bad { 6 } else { 3 } + (minute as u64 % 20) / 7) {
            let (item, ms) = (next(900), next(if bad { 4_000 } else { 90 }));
            let status = if bad && next(3) == 0 { 504 } else { [200, 200, 200, 304, 404][next(5) as usize] };
            let line = format!(
                "10.2.{}.{} - - \"GET /shop/item/{item} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0\" {ms}ms",
                next(9),
                next(250),
                900 + ms * 7
            );
            server.documents.write(
                "/var/log/nginx/access.log",
                time + next(1_000) as i64,
                &line,
                json!({ "status": status, "labels.team": "web" }),
            );
        }
        if bad && next(4) == 0 {
            let line = format!(
                "ERROR o.a.shop.Payment - read timed out after 3000 ms calling http://pay:8080/charge order={}",
                48_000 + next(999)
            );
            server.documents.write(
                "/var/log/shop/app.log",
                time + 200,
                &line,
                json!({ "labels.team": "shop", "log.level": "error" }),
            );
        } else if next(3) == 0 {
            let line = format!("INFO  o.a.shop.Cart - order {} accepted, {} items", 48_000 + next(999), 1 + next(5));
            server.documents.write(
                "/var/log/shop/app.log",
                time + 300,
                &line,
                json!({ "labels.team": "shop", "log.level": "info" }),
            );
        }
        if next(20) == 0 {
            let line = format!("WARN  connection pool {} of 40 in use", 30 + next(10));
            server.documents.write(
                "/var/log/pay/service.log",
                time + 400,
                &line,
                json!({ "labels.team": "pay", "log.level": "warn" }),
            );
        }
    }
}

#[test]
#[ignore = "makes pictures"]
fn pictures_of_the_page() {
    let server = Fake::start();
    an_hour(&server);
    let pictures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&pictures).unwrap();
    let take = |browser: &Browser, name: &str| {
        browser.shot(name);
        std::fs::copy(browser.folder.join(format!("{name}.png")), pictures.join(format!("{name}.png"))).unwrap();
    };
    let browser = Browser::with("pictures", "en", (900, 640));
    browser.open(&server.url("/"));
    browser.wait("the lines", &format!("{ROWS} >= 100"));
    browser.click("#fields-toggle");
    browser.click("#fields [data-field=\"status\"]");
    browser.wait("its values", "document.querySelectorAll('#fields .top').length > 2");
    take(&browser, "search");
    browser.dark();
    browser.click("#fields-toggle");
    browser.open(&server.url("/?q=%22read+timed+out%22"));
    browser.wait("the hits", &format!("{ROWS} > 50"));
    browser.click("#rows .row:nth-child(3) .chevron");
    browser.wait("the fields", "document.querySelector('.details')");
    take(&browser, "line-dark");
    browser.keys("c");
    browser.wait("the context", "document.querySelector('.around .found')");
    take(&browser, "context-dark");
    let phone = Browser::with("pictures-narrow", "zh-CN", (390, 760));
    phone.devtools(
        "Emulation.setDeviceMetricsOverride",
        &json!({ "width": 390, "height": 760, "deviceScaleFactor": 1, "mobile": true }),
    );
    phone.open(&server.url("/?q=status%3A504"));
    phone.wait("the hits", &format!("{ROWS} > 50"));
    take(&phone, "narrow-zh");
}
