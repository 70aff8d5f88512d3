//! Prometheus' text format.

use std::fmt::{Display, Write};

/// The version of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, as text.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// The samples of a metric.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Text {
    /// A metric that goes up and down. Its name comes without the prefix that all of them have.
    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Samples<'a> {
        self.metric(name, "gauge", help)
    }

    /// A metric that only rises, until the server starts again.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Samples<'a> {
        self.metric(name, "counter", help)
    }

    fn metric<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Samples<'a> {
        let text = &mut self.0;
        put(
            text,
            format_args!("# HELP mp_manager_{name} {help}\n# TYPE mp_manager_{name} {kind}\n"),
        );
        Samples { text, name }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// The value with these labels.
    pub(super) fn with(&mut self, labels: &[(&str, &str)], value: impl Display) {
        put(self.text, format_args!("mp_manager_{}", self.name));
        for (n, (label, of)) in labels.iter().enumerate() {
            put(self.text, format_args!("{}{label}=\"", if n == 0 { '{' } else { ',' }));
            escape(self.text, of);
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        put(self.text, format_args!("{end} {value}\n"));
    }

    /// The one value of a metric without labels.
    pub(super) fn is(mut self, value: impl Display) {
        self.with(&[], value);
    }
}

/// Adds a label's value: it may have anything in it, and must end neither the value nor the line.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A `String` takes everything.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_its_help_its_type_and_its_samples() {
        let mut text = Text::default();
        let mut samples = text.gauge("queue_items", "Items.");
        samples.with(&[("name", "a \"b\\\n"), ("x", "é")], 3);
        samples.with(&[("name", "")], 0.5);
        text.counter("begun_total", "Begun.").is(7);
        let expected = r#"# HELP mp_manager_queue_items Items.
# TYPE mp_manager_queue_items gauge
mp_manager_queue_items{name="a \"b\\\n",x="é"} 3
mp_manager_queue_items{name=""} 0.5
# HELP mp_manager_begun_total Begun.
# TYPE mp_manager_begun_total counter
mp_manager_begun_total 7
"#;
        assert_eq!(text.into_string(), expected);
    }
}
