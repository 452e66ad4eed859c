//! Adds and joins: go-kit's addsvc, with its limits and the words of its errors.

use serde::Deserialize;
use serde_json::{Value, json};

use super::backend::Failure;

/// Bytes that two joined strings may have.
const MAX_LENGTH: usize = 10;

/// As in Go, what is missing is zero or empty.
#[derive(Deserialize)]
struct Numbers {
    #[serde(default)]
    a: i64,
    #[serde(default)]
    b: i64,
}

#[derive(Deserialize)]
struct Strings {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
}

/// `{"a":1,"b":2}` → `{"v":3}`. Two zeroes and sums beyond 32 bits are errors.
pub fn sum(body: &[u8]) -> Result<Value, Failure> {
    let Numbers { a, b } = serde_json::from_slice(body).map_err(|e| Failure::bad(&e))?;
    if a == 0 && b == 0 {
        return Err(Failure::bad(&"can't sum two zeroes"));
    }
    let sum = a.checked_add(b).and_then(|sum| i32::try_from(sum).ok());
    sum.map(|v| json!({ "v": v })).ok_or_else(|| Failure::bad(&"integer overflow"))
}

/// `{"a":"x","b":"y"}` → `{"v":"xy"}`. More than 10 bytes are an error.
pub fn concat(body: &[u8]) -> Result<Value, Failure> {
    let Strings { a, b } = serde_json::from_slice(body).map_err(|e| Failure::bad(&e))?;
    if a.len().saturating_add(b.len()) > MAX_LENGTH {
        return Err(Failure::bad(&"result exceeds maximum size"));
    }
    Ok(json!({ "v": a + &b }))
}

#[cfg(test)]
mod tests {
    use super::{concat, sum};

    fn said(answer: Result<serde_json::Value, super::Failure>) -> String {
        answer.map_or_else(|failure| failure.message, |value| value.to_string())
    }

    #[test]
    fn sums_within_32_bits() {
        for (body, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{"v":3}"#),
            (r#"{"a":2147483646,"b":1}"#, r#"{"v":2147483647}"#),
            (r#"{"a":2147483647,"b":1}"#, "integer overflow"),
            (r#"{"a":-2147483648,"b":-1}"#, "integer overflow"),
            (r#"{"a":9223372036854775807,"b":1}"#, "integer overflow"),
            (r#"{"a":0,"b":0}"#, "can't sum two zeroes"),
            ("{}", "can't sum two zeroes"),
        ] {
            assert_eq!(said(sum(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn joins_up_to_ten_bytes() {
        for (body, expected) in [
            (r#"{"a":"x","b":"y"}"#, r#"{"v":"xy"}"#),
            (r#"{"a":"12345","b":"67890"}"#, r#"{"v":"1234567890"}"#),
            (r#"{"a":"12345","b":"678901"}"#, "result exceeds maximum size"),
        ] {
            assert_eq!(said(concat(body.as_bytes())), expected, "{body}");
        }
    }
}
