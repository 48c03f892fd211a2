//! Passwords stand nowhere: not in logs, not in rows, in no form.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use crate::{app::App, stack};

pub(super) async fn check(app: &App, broken: &mut Vec<String>) {
    let places = [("the logs", app.logs()), ("the rows", everything(app).await)];
    for role in ["BACKUP", "RESTORE", "SUPER"] {
        let password = stack::setting(&format!("TARGET_{role}_PASSWORD"));
        for (form, text) in forms(&password) {
            for (place, content) in &places {
                if content.contains(&text) {
                    broken.push(format!("the password of {role} stands {form} in {place}"));
                }
            }
        }
    }
}

/// Every row of every table of the installation, as JSON. Bytes stand there in hexadecimal.
pub async fn everything(app: &App) -> String {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let mut all = String::new();
    for table in app.values::<String>(tables).await {
        let sql = format!("SELECT coalesce(string_agg(to_jsonb(t)::text, E'\\n'), '') FROM {table} t");
        all.push_str(&app.value::<String>(&sql).await);
    }
    all
}

/// A secret as it may leak: raw, as JSON writes it, percent-encoded, in base64 wherever it begins, in hexadecimal.
pub fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let json = serde_json::to_string(secret).unwrap();
    let each = |one: fn(u8) -> String| secret.bytes().map(one).collect::<String>();
    let plain = |byte: u8| byte.is_ascii_alphanumeric().then(|| char::from(byte).to_string());
    let percent: String = secret.bytes().map(|b| plain(b).unwrap_or_else(|| format!("%{b:02X}"))).collect();
    let lower: String = secret.bytes().map(|b| plain(b).unwrap_or_else(|| format!("%{b:02x}"))).collect();
    let mut forms = vec![
        ("raw", secret.to_owned()),
        ("in JSON", json[1..json.len() - 1].to_owned()),
        ("percent-encoded", percent),
        ("percent-encoded", lower),
        ("in base64", STANDARD.encode(secret)),
        ("in hexadecimal", each(|b| format!("{b:02x}"))),
        ("in hexadecimal", each(|b| format!("{b:02X}"))),
    ];
    // Inside longer text the secret begins at one of three places of a group; its inner letters are always the same.
    for before in 0..3 {
        let text = [&[0][..].repeat(before), secret.as_bytes()].concat();
        let (first, last) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        forms.push(("in base64", STANDARD_NO_PAD.encode(&text)[first..last].to_owned()));
        forms.push(("in base64", URL_SAFE_NO_PAD.encode(&text)[first..last].to_owned()));
    }
    forms
}
