//! Upper case and length: go-kit's stringsvc, except that an error is a 400 and not a 200.

use serde::Deserialize;
use serde_json::{Value, json};

use super::backend::Failure;

/// As in Go, a missing string is empty.
#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    s: String,
}

/// `{"s":"hello"}` → `{"v":"HELLO"}`. An empty string is an error.
pub fn uppercase(body: &[u8]) -> Result<Value, Failure> {
    let Text { s } = serde_json::from_slice(body).map_err(|e| Failure::bad(&e))?;
    if s.is_empty() {
        return Err(Failure::bad(&"empty string"));
    }
    Ok(json!({ "v": s.to_uppercase() }))
}

/// `{"s":"hello"}` → `{"v":5}`: bytes in UTF-8, as Go's `len`.
pub fn count(body: &[u8]) -> Result<Value, Failure> {
    let Text { s } = serde_json::from_slice(body).map_err(|e| Failure::bad(&e))?;
    Ok(json!({ "v": s.len() }))
}
