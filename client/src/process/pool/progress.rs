//! A bar that shows how far a map is.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar, if one was asked for and there is a terminal to draw it on.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(super) fn new(draws: bool, name: &str, (least, most): (usize, Option<usize>)) -> Self {
        if !draws || !stderr().is_terminal() {
            return Self(None);
        }
        let bar = match most.filter(|most| *most == least) {
            Some(count) => ProgressBar::new(count as u64),
            None => ProgressBar::no_length(),
        };
        let template = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name.rsplit("::").next().unwrap_or(name).to_owned());
        Self(Some(bar))
    }

    pub(super) fn advance(&self, tasks: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(tasks as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.abandon();
        }
    }
}
