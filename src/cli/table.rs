//! The admin's answers as tables: aligned columns, one line a row.

use serde_json::Value;

/// `/routes`; none when the answer has another shape.
pub(super) fn routes(answer: &Value) -> Option<String> {
    let mut table = Table::new(&[
        "NAME", "PATHS", "HOSTS", "METHODS", "SERVICE", "REQUESTS", "ERRORS", "SOURCE",
    ]);
    for route in answer["routes"].as_array()? {
        table.row(vec![
            text(&route["name"]),
            list(&route["paths"]),
            list(&route["hosts"]),
            list(&route["methods"]),
            text(&route["service"]),
            text(&route["requests"]),
            text(&route["errors"]),
            text(&route["source"]),
        ]);
    }
    Some(table.print("no routes"))
}

/// `/services`, one line a service.
pub(super) fn services(answer: &Value) -> Option<String> {
    let mut table = Table::new(&[
        "NAME", "REGISTRY", "BALANCE", "STATE", "SOURCE", "READY", "REQUESTS", "FAILURES",
    ]);
    for service in answer["services"].as_array()? {
        let instances = service["instances"].as_array()?;
        // Those that are held take requests too.
        let serves =
            |instance: &&Value| instance["state"] == "ready" || instance["state"] == "held";
        let ready = instances.iter().filter(serves).count();
        table.row(vec![
            text(&service["name"]),
            text(&service["registry"]),
            text(&service["balance"]),
            text(&service["state"]),
            text(&service["source"]),
            format!("{ready}/{}", instances.len()),
            text(&service["requests"]),
            text(&service["failures"]),
        ]);
    }
    Some(table.print("no services"))
}

/// `/services`, one line an instance.
pub(super) fn instances(answer: &Value) -> Option<String> {
    let mut table = Table::new(&[
        "SERVICE",
        "ADDRESS",
        "STATE",
        "HEALTH",
        "BREAKER",
        "WEIGHT",
        "ZONE",
        "IN-FLIGHT",
        "REQUESTS",
        "FAILURES",
    ]);
    for service in answer["services"].as_array()? {
        for instance in service["instances"].as_array()? {
            table.row(vec![
                text(&service["name"]),
                text(&instance["address"]),
                text(&instance["state"]),
                text(&instance["health"]),
                text(&instance["breaker"]),
                text(&instance["weight"]),
                text(&instance["zone"]),
                text(&instance["in_flight"]),
                text(&instance["requests"]),
                text(&instance["failures"]),
            ]);
        }
    }
    Some(table.print("no instances"))
}

fn list(values: &Value) -> String {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    if values.is_empty() {
        "*".into()
    } else {
        values.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

/// A value in a cell. Names come from registries: none may steer the terminal.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Rows of as many cells as the header has.
struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Columns as wide as their widest cell, two blanks between; `empty` instead of a header over nothing.
    fn print(self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let header = self.header.iter().map(|&name| name.to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(self.rows).collect();
        let width = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut printed = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            printed.push_str(line.trim_end());
            printed.push('\n');
        }
        printed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_are_aligned_and_what_is_not_limited_is_a_star() {
        let answer = json!({"routes": [
            {"name": "orders", "paths": ["/orders/*", "/o"], "hosts": [], "methods": ["GET"],
             "service": "orders", "requests": 12, "errors": 0, "source": "a.toml:3"},
            {"name": "x", "paths": ["/x"], "hosts": ["é.example"], "methods": [],
             "service": "x", "requests": 1, "errors": 1, "source": ""},
        ]});
        let expected = "\
NAME    PATHS         HOSTS      METHODS  SERVICE  REQUESTS  ERRORS  SOURCE
orders  /orders/*,/o  *          GET      orders   12        0       a.toml:3
x       /x            é.example  *        x        1         1       -
";
        assert_eq!(routes(&answer).unwrap(), expected);
    }

    #[test]
    fn services_say_how_many_instances_are_ready_and_instances_one_line_each() {
        let answer = json!({"services": [{
            "name": "a", "registry": null, "balance": "random", "state": "ok", "source": "static",
            "requests": 3, "failures": 1,
            "instances": [
                {"address": "127.0.0.1:1", "state": "ready", "health": "off", "breaker": "off",
                 "weight": 1, "zone": "z", "in_flight": 0, "requests": 2, "failures": 1},
                {"address": "127.0.0.1:2", "state": "draining", "health": "off", "breaker": "off",
                 "weight": 1, "zone": null, "in_flight": 1, "requests": 1, "failures": 0},
            ],
        }]});
        let services = services(&answer).unwrap();
        let cells: Vec<_> = services.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["a", "-", "random", "ok", "static", "1/2", "3", "1"]);
        let instances = instances(&answer).unwrap();
        assert_eq!(instances.lines().count(), 3);
        let cells: Vec<_> = instances.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["a", "127.0.0.1:2", "draining", "off", "off", "1", "-", "1", "1", "0"]);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(text(&json!("a\u{1b}[31mb\nc")), "a\u{fffd}[31mb\u{fffd}c");
    }

    #[test]
    fn nothing_to_show_is_said_and_another_shape_is_no_table() {
        assert_eq!(routes(&json!({"routes": []})).unwrap(), "no routes\n");
        assert_eq!(services(&json!({"routes": []})), None);
    }
}
