//! Charts of a run, as SVG.

use std::{fmt::Write, fs, io, path::Path};

use crate::{
    report::{Line, Report},
    rows::SERIES,
};

const BAR: f64 = 18.0;
const GAP: f64 = 8.0;
const LEFT: f64 = 390.0;
const WIDTH: f64 = 320.0;
/// Bars end at this factor.
const MOST: f64 = 32.0;
const STYLE: &str = "<style>text{font:12px sans-serif;fill:#444}.n{font-weight:bold}.g{stroke:#bbb}\
    .a{fill:#2a7ab8}.b{fill:#c96a2b}.l{fill:none;stroke:#2a7ab8;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#ccc}.g{stroke:#555}}</style>";

/// Reads what `--json` printed, and draws it.
pub(crate) fn draw(run: &Path, directory: &Path) -> io::Result<()> {
    let named =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", run.display()));
    let text = fs::read_to_string(run).map_err(|error| named(&error))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| named(&error))?;
    fs::create_dir_all(directory)?;
    fs::write(directory.join("peers.svg"), ratios(&report))?;
    for (name, points) in &report.series {
        let points: Vec<_> = points.iter().map(|(x, rate)| (*x, rate.median)).collect();
        fs::write(directory.join(format!("{name}.svg")), series(name, &points))?;
    }
    Ok(())
}

/// How many times better ours is.
fn advantage(line: &Line) -> f64 {
    if line.more_is_better { line.ratio } else { 1.0 / line.ratio }
}

fn ratios(report: &Report) -> String {
    let lines: Vec<_> = report
        .lines
        .iter()
        .filter(|line| line.sides.len() == 2 && line.ratio.is_finite())
        .collect();
    let height = lines.len() as f64 * (BAR + GAP) + 60.0;
    let scale = |advantage: f64| {
        LEFT + WIDTH / 2.0 + advantage.clamp(1.0 / MOST, MOST).ln() / MOST.ln() * WIDTH / 2.0
    };
    let mut svg = begin(LEFT + WIDTH + 60.0, height);
    for (mark, named) in
        [(0.25, "¼"), (0.5, "½"), (1., "1"), (2., "2"), (4., "4"), (8., "8"), (16., "16")]
    {
        let x = scale(mark);
        let _ = write!(
            svg,
            "<line class='g' x1='{x:.1}' x2='{x:.1}' y1='24' y2='{:.0}'/>\
             <text x='{x:.1}' y='16' text-anchor='middle'>{named}×</text>",
            height - 30.0
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let y = 30.0 + at as f64 * (BAR + GAP);
        let (from, to) = (scale(1.0), scale(advantage(line)));
        let (x, width) = (from.min(to), (to - from).abs().max(1.0));
        let class = if to >= from { "a" } else { "b" };
        let text_y = y + BAR - 5.0;
        let _ = write!(
            svg,
            "<text x='{:.0}' y='{text_y:.1}' text-anchor='end'><tspan class='n'>{}</tspan> {}</text>\
             <rect class='{class}' x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{BAR}'/>\
             <text x='{:.0}' y='{text_y:.1}'>{:.2}</text>",
            LEFT - 8.0,
            line.sides[1].name,
            escaped(&line.what),
            LEFT + WIDTH + 8.0,
            advantage(line),
        );
    }
    let _ = write!(
        svg,
        "<text x='8' y='{:.0}'>How many times better than the other (speed, time, memory). {}, {}.</text></svg>",
        height - 8.0,
        escaped(&report.machine),
        date(report.at)
    );
    svg
}

fn series(name: &str, points: &[(u64, f64)]) -> String {
    let (width, height, left, bottom) = (480.0, 220.0, 70.0, 180.0);
    let what = SERIES.iter().find(|series| series.name == name).map_or(name, |series| series.what);
    let first = points.first().map_or(1.0, |(x, _)| *x as f64).max(1.0);
    let most = points.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let last = points.last().map_or(10.0, |(x, _)| *x as f64).max(10.0 * first);
    let place = |x: u64, rate: f64| {
        let x = left
            + ((x as f64).max(first) / first).ln() / (last / first).ln() * (width - left - 30.0);
        (x, bottom - rate / most * (bottom - 30.0))
    };
    let mut svg = begin(width, height);
    let line: Vec<String> = points
        .iter()
        .map(|&(x, rate)| {
            let (x, y) = place(x, rate);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    for share in [0.0, 0.5, 1.0] {
        let (_, y) = place(1, most * share);
        let _ = write!(
            svg,
            "<line class='g' x1='{left}' x2='{:.0}' y1='{y:.1}' y2='{y:.1}'/>\
             <text x='{:.0}' y='{:.1}' text-anchor='end'>{:.0}</text>",
            width - 30.0,
            left - 6.0,
            y + 4.0,
            most * share
        );
    }
    for &(x, _) in points {
        let (at, _) = place(x, 0.0);
        let _ = write!(
            svg,
            "<text x='{at:.1}' y='{:.0}' text-anchor='middle'>{}</text>",
            bottom + 16.0,
            short(x)
        );
    }
    let _ = write!(
        svg,
        "<polyline class='l' points='{}'/><text x='8' y='16'>Operations per second, {what}</text></svg>",
        line.join(" ")
    );
    svg
}

/// A number as axes have it.
fn short(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

fn begin(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' \
         width='{width:.0}' height='{height:.0}'>{STYLE}"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The day of a number of seconds since 1970, in the Gregorian calendar.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let rest = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * rest + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{:02}", rest - (153 * shifted + 2) / 5 + 1)
}
